"""Files to a board, once: by their content, resumed where they were cut off, and checked after arrival."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecnn import files
from edgecnn.devices.remote.board.frames import FRAME
from edgecnn.devices.remote.connection import Connection
from edgecnn.errors import BoardError
from edgecnn.progress import Progress, silent


@dataclass(frozen=True)
class _Content:
    """What is to travel: bytes, or a file, which is read when it does."""

    source: bytes | Path
    sha256: str
    size: int

    @classmethod
    def of(cls, source: bytes | Path) -> _Content:
        """Read a file once for its digest."""
        if isinstance(source, bytes):
            return cls(source, hashlib.sha256(source).hexdigest(), len(source))
        try:
            return cls(source, files.sha256(source), source.stat().st_size)
        except OSError as error:
            raise BoardError(f"{source} cannot be read: {error.strerror}", hint="nothing was sent") from error

    def part(self, offset: int, size: int) -> bytes:
        """Return the bytes from `offset` on."""
        if isinstance(self.source, bytes):
            return self.source[offset : offset + size]
        with open(self.source, "rb") as stream:
            stream.seek(offset)
            return stream.read(size)


def send(
    connection: Connection,
    folder: str,
    sources: Mapping[str, bytes | Path],
    progress: Progress = silent,
    folders: Collection[str] = (),
) -> None:
    """Make a folder on the board with `sources` by their names there, and with empty `folders`.

    What the board has already, under any name, does not travel. Raises BoardError.
    """
    contents = {name: _Content.of(source) for name, source in sources.items()}
    by_digest = {item.sha256: item for item in contents.values()}
    asked = {digest: item.size for digest, item in by_digest.items()}
    missing = connection.missing(asked)
    left = {digest: (by_digest[digest], offset) for digest, offset in missing.items()}
    whole, done = sum(item.size - offset for item, offset in left.values()), 0
    parts: list[list[object]] = []
    body = bytearray()

    def put() -> None:
        nonlocal done
        if parts:
            connection.ask("put", bytes(body), parts=list(parts))
            done += len(body)
            progress(f"sending to {connection.device.name}: {done / 1e6:.1f} of {whole / 1e6:.1f} MB")
            parts.clear()
            body.clear()

    for digest, (item, offset) in left.items():
        at = offset
        while True:
            part = item.part(at, FRAME - len(body))
            if not part and at < item.size:
                raise BoardError(f"{item.source!s} was changed while it was sent", hint="try again")
            parts.append([digest, at, len(part), item.size])
            body += part
            at += len(part)
            if len(body) == FRAME:
                put()
            if at >= item.size:
                break
    put()
    names = {name: item.sha256 for name, item in contents.items()}
    connection.ask("link", folder=folder, files=names, folders=sorted(folders))
