"""Files of public data sets: from the first mirror that has them, resumed, checked, kept in one folder."""

from __future__ import annotations

import contextlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecnn import files, operating_system
from edgecnn.data.dataset import file_size
from edgecnn.errors import DataError, InvalidValueError, OutputError
from edgecnn.progress import Progress, silent

#: Environment variables: the folder where data sets are kept, and a mirror that replaces the public ones.
FOLDER_VARIABLE = "EDGECNN_DATA"
MIRROR_VARIABLE = "EDGECNN_DATA_MIRROR"

#: Seconds without a byte after which a server is given up.
TIMEOUT = 30
#: A mirror that cuts the connection this often is given up, whatever arrived meanwhile.
_ATTEMPTS = 8
_BLOCK = 1 << 18


@dataclass(frozen=True)
class RemoteFile:
    """A file that must arrive exactly so."""

    name: str
    #: In bytes.
    size: int
    sha256: str


def kept_in() -> Path:
    """Return the folder where data sets are kept: `EDGECNN_DATA`, else `$XDG_CACHE_HOME/edgecnn/data`."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else files.cache_folder() / "data"


def fetch(
    dataset: str,
    file: RemoteFile,
    mirrors: Sequence[str],
    progress: Progress = silent,
) -> Path:
    """Return the path of a file of `dataset`, downloaded unless it is there already, and checked in any case.

    Each of `mirrors` is a URL to which the file's name is added; under `EDGECNN_DATA_MIRROR` the file is
    DATASET/NAME. Whatever arrived before an interruption is used again. Processes that want the same
    file wait for the one that downloads it. Raises DataError that says why each mirror failed, or
    OutputError if the folder cannot be written.
    """
    path = kept_in() / dataset / file.name
    if _is_whole(path, file):
        return path
    with _writing(path), _locked(path):
        if not _is_whole(path, file):  # another process may have brought it meanwhile
            _download(path, file, _mirrors(dataset, mirrors), progress)
    return path


def _mirrors(dataset: str, public: Sequence[str]) -> list[str]:
    own = os.environ.get(MIRROR_VARIABLE)
    if not own:
        return [mirror.rstrip("/") for mirror in public]
    if urllib.parse.urlsplit(own).scheme not in ("http", "https"):
        raise InvalidValueError(
            f"{MIRROR_VARIABLE} is {own}, which is no address", hint="give https://HOST/FOLDER"
        )
    return [f"{own.rstrip('/')}/{dataset}"]


def _is_whole(path: Path, file: RemoteFile) -> bool:
    return file_size(path) == file.size and files.sha256(path) == file.sha256


def _download(path: Path, file: RemoteFile, mirrors: list[str], progress: Progress) -> None:
    part = path.with_name(f"{file.name}.part")
    reasons = []
    for mirror in mirrors:
        try:
            _download_from(f"{mirror}/{file.name}", part, file, progress)
        except _MirrorError as error:
            reasons.append(f"{mirror}: {error}")
            continue
        os.replace(part, path)
        return
    raise DataError(
        f"cannot download {file.name} ({'; '.join(reasons)})",
        hint=f"copy it to {path} by hand, or set {MIRROR_VARIABLE} to an address that has it",
    )


class _MirrorError(Exception):
    """Why one mirror did not do. It stays inside this module."""


def _download_from(url: str, part: Path, file: RemoteFile, progress: Progress) -> None:
    """Complete `part` from one address, going on where the connection was cut; raises _MirrorError."""
    for _ in range(_ATTEMPTS):
        had = file_size(part)
        reason = _receive(url, part, file, had, progress) if had < file.size else ""
        size = file_size(part)
        if size >= file.size:
            if size == file.size and files.sha256(part) == file.sha256:
                return
            part.unlink()
            if not had:
                raise _MirrorError("what it sends is not that file")
            # The beginning may have come from elsewhere: once more, from the start.
        elif size <= had:
            raise _MirrorError(reason)
    raise _MirrorError(f"the connection was cut {_ATTEMPTS} times")


def _receive(url: str, part: Path, file: RemoteFile, had: int, progress: Progress) -> str:
    """Add what arrives to the `had` bytes of `part`, hardly more than the file's size; returns why it ended.

    Raises _MirrorError if the server does not answer, or not with the file.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "edgecnn"})
    if had:
        request.add_header("Range", f"bytes={had}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(f"HTTP {error.code} {error.reason}") from error
    except (http.client.HTTPException, OSError) as error:
        raise _MirrorError(str(getattr(error, "reason", error))) from error
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {had}-"):
            raise _MirrorError("it sends another range than asked for")
        if not resumed:
            had = 0
        with open(part, "ab" if resumed else "wb") as stream:
            while had <= file.size:
                try:
                    block = answer.read(_BLOCK)
                except (http.client.HTTPException, OSError) as error:
                    return str(error)
                if not block:
                    break
                stream.write(block)
                had += len(block)
                progress(f"downloading {file.name}: {10 * (10 * had // file.size)} %")
    return "the connection was cut"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The system takes the lock back when a process ends, however it ends.
    with open(path.with_name(f"{path.name}.lock"), "w") as stream:
        operating_system.lock(stream.fileno())
        yield


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}",
            hint=f"set {FOLDER_VARIABLE} to a folder with room for data sets",
        ) from error
