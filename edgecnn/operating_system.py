"""What Linux offers and other systems may lack: the cores of this process, and locks that end with it."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any


def cores() -> list[int]:
    """Return the numbers of the cores that this process may use: all, where the system binds no process."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def lock(descriptor: int, *, wait: bool = True) -> bool:
    """Lock an open file or folder until it is closed, or the process ends, however it does.

    Returns False where the system knows no such locks: nothing is locked then. Raises OSError if another
    process holds it and `wait` is not set, or the file system has no locks.
    """
    fcntl = _fcntl()
    if fcntl is None:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def has_locks() -> bool:
    """Return whether files and folders can be locked."""
    return _fcntl() is not None


def largest_file() -> int | None:
    """Return how many bytes a file of this process may have at most; None where nothing says."""
    try:
        resource: Any = importlib.import_module("resource")
    except ImportError:
        return None
    limit: int = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _fcntl() -> ModuleType | None:
    try:
        return importlib.import_module("fcntl")
    except ImportError:
        return None
