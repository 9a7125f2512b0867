"""What torch says when a network and an input do not fit, in one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from edgecnn.errors import EdgecnnError, InvalidValueError
from edgecnn.zoo import code_errors


@contextlib.contextmanager
def fitting(size: Sequence[int]) -> Iterator[None]:
    """Turn torch's RuntimeError for a feature map that has shrunk to nothing into an InvalidValueError.

    An error in code of the user's own becomes a CodeError that says where, what a library refuses is said.
    """
    pixels = " x ".join(map(str, size))
    try:
        with code_errors.told(f"it was given images of {pixels} pixels; --debug shows the traceback"):
            yield
    except (AssertionError, ValueError) as error:  # an installed library's
        raise InvalidValueError(
            f"this network cannot take an input of {pixels} pixels: {' '.join(str(error).split())[:200]}",
            hint="leave out the size for the network's own, or tell its code: `arg` img_size=SIDE",
        ) from error
    except RuntimeError as error:
        if "alloc" in str(error):
            raise EdgecnnError(
                "there is not enough memory for this network", hint="choose a smaller alpha or resolution"
            ) from error
        raise InvalidValueError(
            f"this network cannot take an input of {pixels} pixels",
            hint="leave out `resolution` for the network's own, or give a larger one",
        ) from error
