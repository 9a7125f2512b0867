"""What bounds the reading of a picture, which may come from a stranger: kind, size, number of pieces."""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgecnn import files
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.runtime import image_tags

if TYPE_CHECKING:
    from PIL import Image

#: Pixels of a picture that is decoded, unless EDGECNN_MAX_PIXELS says otherwise: a few kilobytes can hold
#: gigabytes of pixels. No camera up to 60 million pixels is refused.
MAX_PIXELS = 64_000_000
_SETTING = "EDGECNN_MAX_PIXELS"
#: How a file is opened, where the system has such ways: without waiting, for this process alone, as it is.
_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
#: Pillow refuses more than this itself.
_PILLOWS_MOST = 178_956_970
#: Bytes of a file: twice what the most pixels take in four channels of sixteen bits, not compressed.
MAX_BYTES = 1 << 30
#: Passes over a JPEG's pixels; encoders write about ten, and each costs as much as a small image.
_MAX_SCANS = 100
#: Pieces in which a file is read. Each costs Pillow time in Python, and a file may consist of millions.
_MAX_READS = 250_000

#: A JPEG marker other than what may stand between a scan's bytes: stuffing, fill and restarts.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END, _SCAN = 0xD9, 0xDA
#: Markers without a segment.
_BARE = frozenset({0x01, 0xD8})


def pixel_limit() -> int:
    """Return how many pixels a picture may have: EDGECNN_MAX_PIXELS, else `MAX_PIXELS`.

    Raises InvalidValueError for a value of that variable that is no such number.
    """
    setting = os.environ.get(_SETTING)
    if not setting:
        return MAX_PIXELS
    digits = setting.isascii() and setting.isdecimal() and len(setting) < 10
    if not (digits and 0 < int(setting) <= _PILLOWS_MOST):
        raise InvalidValueError(
            f"{_SETTING} is {setting!r}, which is no limit on pixels",
            hint=f"a whole number, 1 to {_PILLOWS_MOST}",
        )
    return int(setting)


def too_large(name: str, what: str, limit: int | None = None) -> DataError:
    """Return the error for a picture of too many pixels."""
    return DataError(
        f"{name} is too large to decode: {what}",
        hint=f"at most {limit or pixel_limit():,} pixels; scale it down first, or raise {_SETTING}",
    )


class _Counted:
    """Counts the reads of a stream, and ends one that is read in too many pieces."""

    reads = 0

    def _count(self) -> None:
        self.reads += 1
        if self.reads > _MAX_READS:
            raise OSError("it consists of too many pieces")


class FileStream(_Counted, io.BufferedReader):
    """A file on disk."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like any stream; raises OSError after too many reads."""
        self._count()
        return super().read(size)


class BytesStream(_Counted, io.BytesIO):
    """A file in memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read like any stream; raises OSError after too many reads."""
        self._count()
        return super().read(size)


def opened(image: str | Path | bytes, name: str) -> FileStream | BytesStream:
    """Open a file without waiting for it: a pipe, a device or a socket is no image, and may never answer."""
    if isinstance(image, bytes):
        return BytesStream(image)
    if wrong := files.unlike_file(image, "an image"):  # before it is opened: that does something to devices
        raise DataError(f"{name} is {wrong}", hint="check the path")
    raw = io.FileIO(os.open(image, os.O_RDONLY | _FLAGS))
    try:
        found = os.fstat(raw.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{name} is no file any more", hint="check the path")
        if found.st_size > MAX_BYTES:
            raise DataError(
                f"{name} has {found.st_size:,} bytes, more than any image that is read", hint="leave it out"
            )
        return FileStream(raw)
    except BaseException:
        raw.close()
        raise


def demand_tags(stream: IO[bytes], name: str) -> None:
    """Raise DataError for a TIFF file, or EXIF data, that would take far more memory than it has bytes."""
    if image_tags.overlap(stream):
        raise DataError(
            f"{name} is too large to decode: its tags claim more than the file holds", hint="save it again"
        )


def demand_limits(picture: Image.Image, stream: IO[bytes] | None, name: str, limit: int) -> None:
    """Raise DataError for a picture, not yet decoded, that has too many pixels, or is sent too often."""
    if picture.width * picture.height > limit:
        raise too_large(name, f"{picture.width} x {picture.height} pixels", limit)
    if picture.format in ("JPEG", "MPO") and stream is not None and _scans(stream) > _MAX_SCANS:
        raise DataError(
            f"{name} is too large to decode: its pixels are sent in more than {_MAX_SCANS} scans",
            hint="save it again",
        )


def _scans(stream: IO[bytes]) -> int:
    """Return how often a JPEG's decoder passes over its pixels, or a number above the limit."""
    place = stream.tell()
    stream.seek(0)
    scans = 0
    while scans <= _MAX_SCANS and (marker := _next_marker(stream)) not in (None, _END):
        if marker in _BARE:
            continue
        scans += marker == _SCAN
        length = int.from_bytes(stream.read(2), "big")
        stream.seek(max(0, length - 2), os.SEEK_CUR)
    stream.seek(place)
    return scans


def _next_marker(stream: IO[bytes]) -> int | None:
    """Return the next marker of a JPEG and stand behind it; None at the end."""
    while block := stream.read(1 << 14):
        found = _MARKER.search(block)
        if found:
            stream.seek(found.end() - len(block), os.SEEK_CUR)
            return block[found.end() - 1]
        if block[-1] == 0xFF and len(block) > 1:
            stream.seek(-1, os.SEEK_CUR)
    return None
