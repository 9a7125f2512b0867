"""Feed inputs that were made wrong, in a process with a limit of memory and of time for each.

    python tests/fuzz/fuzz.py [TARGET ...] [--count 100000] [--seed 0] [--keep build/fuzz]

An input must be taken, or refused with an EdgecnnError: no other exception, no crash, under 30 seconds, under
2 GB more than the libraries take. What is found is kept as a file, and printed once for each place.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
# Results are of nobody, and nothing is asked of a network.
os.environ["EDGECNN_RESULTS"] = os.path.join(tempfile.gettempdir(), "edgecnn-fuzz.sqlite")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from targets import Target, targets  # noqa: E402 - found by the path above

from edgecnn.errors import EdgecnnError  # noqa: E402

SECONDS, MEMORY = 30, 2_000_000_000


class Hang(BaseException):
    """An input took longer than SECONDS."""


def _hang(*_: Any) -> None:
    raise Hang(f"over {SECONDS} seconds")


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Give this process 2 GB more than it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    signal.signal(signal.SIGALRM, _hang)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def run(target: Target, count: int, seed: int, keep: Path) -> dict[str, str]:
    """Return what was found: the place in the code, and the first input's file with what it raised.

    The input that is being fed lies in `keep` while it is, so that one which kills the process can be seen.
    """
    found: dict[str, str] = {}
    keep.mkdir(parents=True, exist_ok=True)
    current = keep / f"{target.name}.current"
    for number in range(count):
        made = target.make(random.Random(f"{seed}/{target.name}/{number}"))
        current.write_bytes(pickle.dumps(made))
        signal.alarm(SECONDS)
        try:
            target.feed(made)
        except EdgecnnError:
            pass
        except (Exception, Hang) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{target.name}: {type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
            if place not in found:
                kept = keep / f"{target.name}.{seed}.{number}".replace(" ", "_")
                kept.write_bytes(pickle.dumps(made))
                found[place] = f"{kept}: {' '.join(str(error).split())[:200]}"
        finally:
            signal.alarm(0)
    current.unlink(missing_ok=True)
    return found


def main() -> None:
    """Fuzz, print a line of JSON for each target, and leave with 1 if something was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", nargs="*")
    parser.add_argument("--count", type=int, help="Inputs for each target; the quick suite's if left out.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    arguments = parser.parse_args()
    keep = arguments.keep.resolve()
    worst = 0
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = targets(Path(folder))
        with limited():
            for name in arguments.target or known:
                count = arguments.count or known[name].few
                found = run(known[name], count, arguments.seed, keep)
                worst |= bool(found)
                print(json.dumps({"target": name, "inputs": count, "found": found}), flush=True)
    sys.exit(worst)


if __name__ == "__main__":
    main()
