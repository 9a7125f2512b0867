"""Whole files or none: every result is written through here."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from edgecnn import leftovers
from edgecnn.errors import OutputError

#: Bytes that are read at once.
_BLOCK = 1 << 20
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write somewhere else with -o"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write somewhere else with -o"),
    errno.EFBIG: ("the file would be larger than is allowed here", "raise the limit (ulimit -f)"),
    errno.EACCES: ("permission denied", "choose another place with -o"),
    errno.EPERM: ("permission denied", "choose another place with -o"),
    errno.EROFS: ("the file system is read-only", "choose another place with -o"),
    errno.ENOENT: ("the folder does not exist", "create the folder first"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another place with -o"),
    errno.EISDIR: ("it is a folder", "give a file name"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
}


def reason(error: OSError) -> tuple[str, str]:
    """Return what an error of the system means, and what to do about it."""
    return _REASONS.get(error.errno or 0, (error.strerror or str(error), "choose another place with -o"))


#: What stands where a file is asked for, by its kind in `stat`.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def unlike_file(path: str | Path, what: str = "a file") -> str | None:
    """Return how a path is no file that can be read, to follow its name and "is"; None for a file.

    `what` says which file is asked for: "a folder, not a model file".
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name with a null byte
        return "a link to what is not there" if os.path.lexists(path) else "not there"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads in a circle"
        return f"out of reach: {reason(error)[0]}"
    return None if kind == stat.S_IFREG else f"{_KINDS.get(kind, 'something else')}, not {what}"


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        return digest(stream)


def digest(stream: BinaryIO) -> str:
    """Return the SHA-256 of what is left of a stream as 64 hexadecimal digits."""
    found = hashlib.sha256()
    while block := stream.read(_BLOCK):
        found.update(block)
    return found.hexdigest()


def check_writable(path: str | Path) -> Path:
    """Return `path` if a file can be written there; raises OutputError before any work is done otherwise."""
    path = Path(path)
    with _reporting(path), _unnamed_or_named(_target(path)):
        pass
    return path


def cache_folder() -> Path:
    """Return where what can be made again is kept: `$XDG_CACHE_HOME/edgecnn`, else ~/.cache/edgecnn.

    Raises OutputError where there is no home folder.
    """
    return home("XDG_CACHE_HOME", ".cache") / "edgecnn"


def home(variable: str, name: str) -> Path:
    """Return a folder of the user's by its variable, else by its name in the home folder (XDG).

    A variable that holds no absolute path says nothing. Raises OutputError where the user has no home.
    """
    chosen = os.environ.get(variable, "")
    if os.path.isabs(chosen):
        return Path(chosen)
    try:
        return Path.home() / name
    except RuntimeError as error:
        raise OutputError(
            "this user has no home folder", hint=f"set HOME, or {variable} to a folder that can be written"
        ) from error


def make_folder(path: Path, hint: str) -> None:
    """Make a folder and those above it; raises OutputError with a hint."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {reason(error)[0]}", hint=hint) from error


def write_atomic(path: str | Path, content: bytes, *, durable: bool = True) -> None:
    """Write `content` to `path`, whole or not at all; an existing file is replaced in one step.

    It keeps its mode and, where that is allowed, its owner. A link stays one: what it leads to is written,
    which need not be there yet. Of a file with several names (hard links) the others keep the old content.

    Where the file system allows it the data goes into a file without a name, so that even a run that is
    killed leaves nothing behind, or what the next that writes there sweeps. Without `durable` the disk is not
    waited for: after a power cut the file may be there without its content. Raises OutputError.
    """
    write_together({Path(path): content}, durable=durable)


def write_together(contents: Mapping[Path, bytes | Path], *, durable: bool = True) -> None:
    """Write files that belong together as `write_atomic` does: if one cannot be written, none is replaced.

    Content that is a path is read from there. All content is on the disk before the first file gets its name;
    they get them in the order given. Raises OutputError.
    """
    with contextlib.ExitStack() as stack:
        written: dict[Path, tuple[int, Path | None]] = {}
        targets: dict[Path, Path] = {}
        for path, content in contents.items():
            with _reporting(path):
                targets[path] = _target(path)
                written[path] = stack.enter_context(_unnamed_or_named(targets[path]))
                _fill(written[path][0], content, durable=durable)
        named = {}
        for path, (descriptor, temporary) in written.items():
            if temporary is None:
                temporary = leftovers.temporary_name(targets[path])
                stack.callback(temporary.unlink, missing_ok=True)
                with _reporting(path):
                    # Python only follows the link (linkat, not link) if it is given a folder to start from,
                    # which an absolute path then ignores.
                    source = f"/proc/self/fd/{descriptor}"
                    os.link(source, temporary, src_dir_fd=descriptor, follow_symlinks=True)
            named[path] = temporary
        for path, temporary in named.items():
            with _reporting(path):
                os.replace(temporary, targets[path])
    if durable:
        for folder in {path.parent for path in targets.values()}:
            _sync_folder(folder)


def _fill(descriptor: int, content: bytes | Path, *, durable: bool) -> None:
    with open(content, "rb") if isinstance(content, Path) else io.BytesIO(content) as stream:
        while block := stream.read(_BLOCK):
            view = memoryview(block)
            while view:
                view = view[os.write(descriptor, view) :]
    if durable:
        os.fsync(descriptor)


@contextlib.contextmanager
def _unnamed_or_named(path: Path) -> Iterator[tuple[int, Path | None]]:
    """Open a new file in the folder of `path`: without a name where the system can, else hidden."""
    leftovers.sweep_files(path.parent)
    temporary: Path | None = None
    try:
        descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (OSError, AttributeError) as error:
        unsupported = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}
        if isinstance(error, OSError) and error.errno not in unsupported:
            raise
        temporary, descriptor = _hidden(path)
    try:
        _make_like(descriptor, path)
        # Before it has a name: nobody takes it for what a killed run left.
        leftovers.hold(descriptor)
        yield descriptor, temporary
    finally:
        os.close(descriptor)
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _make_like(descriptor: int, path: Path) -> None:
    """Give a new file the owner and the mode of the one that it is to replace, before anything is in it."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        before = path.stat()
        # Not of another's file, nor on a disk that keeps no modes.
        with contextlib.suppress(PermissionError, AttributeError):  # not every system has such owners
            os.fchown(descriptor, before.st_uid, before.st_gid)
        with contextlib.suppress(PermissionError, AttributeError):
            os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _target(path: Path) -> Path:
    """Return the file that is written for `path`: where a link leads to. Raises OSError for another thing."""
    if str(path) == "-":
        raise OutputError("cannot write to standard output: a result is a file", hint="give -o a file's name")
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_symlink():
        raise OSError(errno.ELOOP, "it is a link that leads to itself")
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if target.exists() and not target.is_file():
        raise OSError(errno.ENOTSUP, "it is a device or a pipe, not a file")
    return target


def _hidden(path: Path) -> tuple[Path, int]:
    """Open a new file beside `path` that is held."""
    while True:
        temporary = leftovers.temporary_name(path)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        if leftovers.hold(descriptor):
            return temporary, descriptor
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # A rename is only safe against a power cut once the folder is on the disk too.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what, hint = reason(error)
        raise OutputError(f"cannot write {path}: {what}", hint=hint) from error
