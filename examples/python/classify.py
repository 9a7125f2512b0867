"""Name what is in photographs: python classify.py MODEL IMAGE..."""

from __future__ import annotations

import argparse
import sys

from edgecnn.errors import EdgecnnError
from edgecnn.runtime import load


def main() -> None:
    """Load the model once, then classify one image after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("images", nargs="+")
    arguments = parser.parse_args()
    try:
        with load(arguments.model) as engine:
            for image in arguments.images:
                best, *others = engine.predict(image, top=3)[0]
                print(f"{image}: {best.label} ({best.probability:.1%})")
                for other in others:
                    print(f"    or {other.label} ({other.probability:.1%})")
    except EdgecnnError as error:  # one sentence; error.hint says what to do about it
        sys.exit(f"error: {error}\nhint: {error.hint}" if error.hint else f"error: {error}")


if __name__ == "__main__":
    main()
