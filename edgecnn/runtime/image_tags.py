"""The tags of a TIFF file, and of the EXIF data in other files, counted before Pillow reads them.

Each tag says where its value lies and how long it is. Nothing keeps thousands of tags from naming the same
megabytes, each of which would be copied.
"""

from __future__ import annotations

import io
import struct
from typing import IO

#: Bytes of a value by its type: TIFF 6.0, section 2, and the three types of BigTIFF.
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
#: Offsets of strips, and of tiles.
_PLACES = (273, 324)
#: Bytes of values beyond a file's own length.
_SLACK = 1 << 26
#: Strips or tiles; each costs Pillow as much as a small image.
_MOST_PLACES = 250_000
#: Entries that are looked at; TIFF itself has no more in a directory.
_MOST_ENTRIES = 65_535


def overlap(stream: IO[bytes]) -> bool:
    """Return whether the first directory of tags claims more values, strips or tiles, than a file can hold.

    What is no TIFF structure claims nothing.
    """
    length = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return False
    big = struct.unpack(order + "H", head[2:4])[0] == 43
    if big and len(head) < 16:
        return False
    start = struct.unpack(order + "Q", head[8:16])[0] if big else struct.unpack(order + "I", head[4:8])[0]
    if start >= length:
        return False
    stream.seek(start)
    form = struct.Struct(order + ("HHQ8x" if big else "HHI4x"))
    prefix = stream.read(8 if big else 2)
    if len(prefix) < (8 if big else 2):
        return False
    entries = min(struct.unpack(order + ("Q" if big else "H"), prefix)[0], _MOST_ENTRIES)
    body = stream.read(entries * form.size)
    total = 0
    for tag, kind, count in form.iter_unpack(body[: len(body) // form.size * form.size]):
        if tag in _PLACES and count > _MOST_PLACES:
            return True
        total += min(count * _SIZES.get(kind, 0), length)  # what reaches beyond the end is not read
    return total > length + _SLACK
