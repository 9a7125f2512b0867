"""What goes wrong in code that is not ours, in one line with its file and line."""

from __future__ import annotations

import contextlib
import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from edgecnn.errors import CodeError, EdgecnnError

_TRACEBACK = "--debug shows the traceback"


@contextlib.contextmanager
def told(hint: str | None = None) -> Iterator[None]:
    """Turn an error in the user's own code into a CodeError; others pass.

    The user's own is what belongs neither to this package nor to Python nor to an installed package.
    """
    try:
        yield
    except EdgecnnError:
        raise
    except (Exception, SystemExit) as error:
        place = where(error)
        if place is None:
            raise
        raise CodeError(f"{place}: {_said(error)}", hint=hint or _hint(error)) from error


def where(error: BaseException) -> str | None:
    """Return file and line of the user's own code in which an error arose; None if it was not there."""
    if isinstance(error, SyntaxError) and error.filename and _is_own(error.filename):
        return _place(error.filename, error.lineno)
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if _is_own(frame[0])]
    return _place(*own[-1]) if own else None


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it ends the program"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())[:300]}"


def _hint(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return 'what runs and not only defines belongs behind if __name__ == "__main__":'
    if isinstance(error, ModuleNotFoundError):
        return f"install what brings {error.name}, or put it into the folder of the file"
    if "tensors to be on the same device" in str(error):
        return "a tensor that forward makes needs the device of its input: device=x.device"
    return _TRACEBACK


def _place(file: str, line: int | None) -> str:
    path, here = Path(file).resolve(), Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{shown}, line {line}"


def is_installed(file: str) -> bool:
    """Return whether a file belongs to Python or to an installed package."""
    path = os.path.realpath(file)
    keys = ("stdlib", "platstdlib", "purelib", "platlib")
    roots = {os.path.realpath(sysconfig.get_path(key)) for key in keys}
    return any(path.startswith(root + os.sep) for root in roots)


def _is_own(file: str) -> bool:
    """Return whether a file is the user's: <string> and the like are no files."""
    ours = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    inside = os.path.realpath(file).startswith(ours + os.sep)
    return file.endswith(".py") and not inside and not is_installed(file)
