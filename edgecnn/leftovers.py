"""Temporary files and folders that a killed run left behind: the next run removes them.

Whoever makes one holds a lock on it (flock), which the system releases when the process ends, however it
ends. What can be locked by somebody else is therefore nobody's any more.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from edgecnn import operating_system

_FOLDER = ".edgecnn-"
_FOLDERS = re.compile(re.escape(_FOLDER) + r"[a-z0-9_]{8}")
_FILES = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)


class TemporaryFolder(tempfile.TemporaryDirectory[str]):
    """A folder in `parent`, or where the system keeps temporary files; what killed runs left there goes."""

    def __init__(self, parent: Path | None = None) -> None:
        sweep_folders(parent or Path(tempfile.gettempdir()))
        while True:
            super().__init__(prefix=_FOLDER, dir=parent)
            if not operating_system.has_locks():
                return
            # Another run may take it for a leftover before it is locked.
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(self.name, os.O_RDONLY)
                if hold(lock):
                    break
                os.close(lock)
            self.cleanup()
        weakref.finalize(self, os.close, lock)


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside `path`; the file that gets it should be held by a lock."""
    # Bytes are what a name has a limit of.
    beginning = os.fsencode(path.name)[:200].decode(errors="ignore")
    return path.with_name(f".{beginning}.{secrets.token_hex(4)}.part")


def hold(descriptor: int) -> bool:
    """Lock an open file or folder while this process lives; return whether it is still there.

    Where the system or its file system has no locks nothing is locked, and nothing is swept.
    """
    with contextlib.suppress(OSError):
        operating_system.lock(descriptor)
    return os.fstat(descriptor).st_nlink > 0


def sweep_files(folder: Path) -> None:
    """Remove the half-written files of killed runs in a folder."""
    for path in _named(folder, _FILES):
        with _abandoned(path) as abandoned:
            if abandoned:
                path.unlink(missing_ok=True)


def sweep_folders(folder: Path) -> None:
    """Remove the temporary folders of killed runs in a folder."""
    for path in _named(folder, _FOLDERS):
        with _abandoned(path, getattr(os, "O_DIRECTORY", 0)) as abandoned:
            if abandoned:
                shutil.rmtree(path, ignore_errors=True)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
    return []


@contextlib.contextmanager
def _abandoned(path: Path, flags: int = 0) -> Iterator[bool]:
    """Yield whether a file or folder is this user's and no running process's; hold it meanwhile."""
    if not operating_system.has_locks():
        yield False
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield False
        return
    try:
        mine = os.fstat(descriptor).st_uid == os.getuid()
        if mine:
            operating_system.lock(descriptor, wait=False)
    except OSError:
        mine = False
    try:
        yield mine
    finally:
        os.close(descriptor)
