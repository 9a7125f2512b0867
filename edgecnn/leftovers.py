"""Temporary files and folders that a killed run left behind: the next run removes them.

Whoever makes one holds a lock on it (flock), which the system releases when the process ends, however it
ends. What can be locked by somebody else is therefore nobody's any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecnn import operating_system
from edgecnn.errors import OutputError

_FOLDER = ".edgecnn-"
_FOLDERS = re.compile(re.escape(_FOLDER) + r"[a-z0-9_]{8}")
#: Bytes that a disk must take which is not full.
_ROOM = 1 << 16
_FILES = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)


class TemporaryFolder(tempfile.TemporaryDirectory[str]):
    """A folder in `parent`, or where the system keeps temporary files; what killed runs left there goes.

    What fails in its `with` for want of room there ends in an OutputError that says so, whatever the library
    that wrote made of it.
    """

    def __init__(self, parent: Path | None = None) -> None:
        sweep_folders(parent or _usual())
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

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            if isinstance(error, Exception):
                self.demand_room()
        except OutputError as full:
            raise full from error
        finally:
            super().__exit__(kind, error, trace)

    def demand_room(self) -> None:
        """Raise OutputError if nothing more can be written there: the disk is full, or a limit is reached."""
        if reason := self._why_no_more():
            parent = Path(self.name).parent
            raise OutputError(
                f"there is no room for temporary files in {parent}: {reason}",
                hint="make some, or set TMPDIR to another folder",
            )

    def _why_no_more(self) -> str | None:
        limit = operating_system.largest_file()
        if limit is not None:
            sizes = [path.stat().st_size for path in Path(self.name).rglob("*") if path.is_file()]
            if max(sizes, default=0) >= limit:
                return f"no file may be larger than {limit:,} bytes (ulimit -f)"
        try:
            with tempfile.TemporaryFile(dir=self.name, buffering=0) as probe:
                (getattr(os, "posix_fallocate", None) or _write)(probe.fileno(), 0, _ROOM)
        except OSError as error:
            return {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up"}.get(
                error.errno or 0
            )
        return None


def _write(descriptor: int, offset: int, count: int) -> None:
    """Take room on a disk where the system has no call for that."""
    os.write(descriptor, bytes(count))


def _usual() -> Path:
    """Return where the system keeps temporary files; raises OutputError where nothing can be written."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise OutputError(
            f"temporary files can be written nowhere: {error.strerror}",
            hint="set TMPDIR to a folder with room",
        ) from error


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
