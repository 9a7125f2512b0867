"""Small files of the kernel (/proc, /sys): read whole, and never trusted to be there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def text(path: Path) -> str | None:
    """Return what a file says without the spaces and zero bytes around it; None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip("\0 \n\t") or None
    except OSError:
        return None


def number(path: Path) -> float | None:
    """Return the number that a file holds; None if it cannot be read or holds something else."""
    found = text(path)
    try:
        return float(found) if found is not None else None
    except ValueError:
        return None


def why_not(path: Path) -> str:
    """Return why a file cannot be read, for people: "permission denied", "no such file or directory"."""
    try:
        path.read_bytes()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return "it holds no number"


def keep_open(path: Path, scale: float = 1.0) -> Callable[[], float | None] | None:
    """Return a function that reads a number again and again, times `scale`; None if it cannot be read now.

    The file stays open, which halves the time: sysfs makes its answer anew for each read from the start.
    """
    if number(path) is None:
        return None
    descriptor = _Descriptor(path)

    def read() -> float | None:
        try:
            return float(os.pread(descriptor.number, 64, 0)) * scale
        except (OSError, ValueError):
            return None

    return read


class _Descriptor:
    """An open file that is closed with the last function that reads it."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self.number)
