"""Images known by their content, whatever they are called and wherever they lie."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.data.dataset import Images, file_size
from edgecnn.errors import ArtifactError, DataError
from edgecnn.runtime.image_files import read_file
from edgecnn.runtime.preprocessing import ImageLike

#: Bytes of a hash that tell one image from all others of a set: a mistake in 10,000 sets of the most images.
_BYTES = 5
#: Of so many images a lineage keeps the hashes: a third of a megabyte of text.
MOST_RECORDED = 50_000


def content_hash(image: ImageLike) -> bytes | None:
    """Return a short hash of an image's file, or of an array's pixels; None for what cannot be read."""
    if isinstance(image, np.ndarray):
        content = repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()
    elif isinstance(image, bytes):
        content = image
    elif isinstance(image, str | Path):
        try:
            content = read_file(image)
        except DataError:
            return None  # whoever decodes it lists it
    else:
        return None
    return hashlib.sha256(content).digest()[:_BYTES]


def size(image: ImageLike) -> int:
    """Return the bytes of an image's file, or of an array's pixels."""
    if isinstance(image, np.ndarray):
        return image.nbytes
    if isinstance(image, bytes):
        return len(image)
    return file_size(Path(image)) if isinstance(image, str | Path) else 0


def hashes(images: Images, rows: Iterable[int] | None = None) -> list[bytes | None]:
    """Return the `content_hash` of the images of these rows (all), which a few threads read."""
    chosen = range(len(images)) if rows is None else rows
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1)), "edgecnn-hash") as pool:
        return list(pool.map(lambda row: content_hash(images[int(row)]), chosen))


def first_of_each(images: Images, sizes: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return, for every image, the row of the first one with the same content: itself, if it is no copy.

    `sizes` are bytes. Only images of equal size are read.
    """
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, size in enumerate(sizes):
        rows_of[size].append(row)
    alike = [row for rows in rows_of.values() if len(rows) > 1 for row in rows]
    firsts = np.arange(len(images))
    seen: dict[tuple[int, bytes], int] = {}
    for row, content in zip(alike, hashes(images, alike), strict=True):
        if content is not None:
            firsts[row] = seen.setdefault((sizes[row], content), row)
    return firsts


def pack(images: Images) -> str | None:
    """Return the hashes of images as a text for a lineage; None if they are too many for one."""
    if len(images) > MOST_RECORDED:
        return None
    return base64.b64encode(b"".join(sorted({item for item in hashes(images) if item}))).decode()


def unpack(text: str) -> frozenset[bytes]:
    """Return what `pack` was given; raises ArtifactError for a text that is not its."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ArtifactError("the lineage's hashes of training images are damaged") from error
    return frozenset(content[start : start + _BYTES] for start in range(0, len(content), _BYTES))
