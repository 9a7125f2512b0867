"""Images known by their content, whatever they are called and wherever they lie.

By the bytes of their files, and where these differ by the pixels that a network sees: a picture that was
saved anew without loss, in another format or with other metadata, is the same. Pixels cost a decoding, so
they are compared only of pictures of the same width and height, and only of so many as takes seconds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgecnn.data.dataset import Images, file_size
from edgecnn.errors import ArtifactError, DataError
from edgecnn.runtime.image_files import ImageLike, open_image, read_file, read_header

#: Bytes of a hash that tell one image from all others of a set: a mistake in 10,000 sets of the most images.
_BYTES = 5
#: Of so many images a lineage keeps the hashes: a third of a megabyte of text.
MOST_RECORDED = 50_000
#: So many images, and pixels of them all, are decoded to compare them: ten to twenty seconds of one core.
MOST_DECODED, MOST_PIXELS = 10_000, 512_000_000

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)
#: Each may hold one picture of the most pixels.
_THREADS = min(4, 2 * (os.cpu_count() or 1))


@dataclass(frozen=True)
class Copies:
    """Which images of a sequence are the same picture."""

    #: For every image the row of the first one like it: itself, if it is no copy.
    firsts: npt.NDArray[np.int64]
    #: Why pixels were not compared; "" if they were.
    note: str = ""

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The images that are copies of an earlier one."""
        return np.flatnonzero(self.firsts != np.arange(len(self.firsts)))


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


def pixel_hash(image: ImageLike) -> bytes | None:
    """Return a short hash of an image's pixels as a network sees them (`open_image`); None if it has none."""
    try:
        picture = open_image(image).convert("RGB")
    except DataError:
        return None
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).digest()[:_BYTES]


def find_copies(images: Images, sizes: Sequence[int]) -> Copies:
    """Find the images that are the same picture. `sizes` are bytes.

    Files are read where their sizes are equal, pictures are decoded where their widths and heights are.
    """
    firsts = np.arange(len(images))
    _merge(images, _alike(dict(enumerate(sizes))), content_hash, firsts)
    originals = np.unique(firsts).tolist()
    if len(originals) > MOST_RECORDED:
        return Copies(firsts, _only_files(f"of {len(originals):,} images"))
    alike = _alike(dict(zip(originals, _each(_sides, images, originals), strict=True)))
    if not _affordable(alike.values()):
        return Copies(firsts, _only_files(f"of {len(alike):,} images of equal size"))
    _merge(images, alike, pixel_hash, firsts)
    return Copies(firsts[firsts])


def _merge(
    images: Images,
    keys: Mapping[int, object],
    digest: Callable[[ImageLike], bytes | None],
    firsts: npt.NDArray[np.int64],
) -> None:
    """Write into `firsts`, for each row that has a key, the first row with the same key and the same hash."""
    seen: dict[tuple[object, bytes], int] = {}
    for (row, key), found in zip(keys.items(), _each(digest, images, keys), strict=True):
        if found is not None:
            firsts[row] = seen.setdefault((key, found), row)


def _alike(keys: Mapping[int, _K | None]) -> dict[int, _K]:
    """Return the rows whose key others have too, in order, with their keys; None is no key."""
    counts = Counter(keys.values())
    return {row: key for row, key in keys.items() if key is not None and counts[key] > 1}


def _sides(image: ImageLike) -> tuple[int, int] | None:
    """Return the shorter and the longer side of a picture by its header; None if it has none."""
    try:
        width, height = read_header(image).size
    except DataError:
        return None
    return min(width, height), max(width, height)  # of two copies one may lie, and say that it is turned


def _affordable(sizes: Collection[tuple[int, int]]) -> bool:
    """Return whether pictures of these sizes may be decoded to compare them."""
    return len(sizes) <= MOST_DECODED and sum(width * height for width, height in sizes) <= MOST_PIXELS


def _only_files(which: str) -> str:
    return f"only identical files count as copies: to compare the pixels {which} takes too long"


def _each(function: Callable[[ImageLike], _T], images: Images, rows: Iterable[int]) -> list[_T]:
    """Return what a function gives for the images of these rows, which a few threads read."""
    with ThreadPoolExecutor(_THREADS, "edgecnn-hash") as pool:
        return list(pool.map(lambda row: function(images[int(row)]), rows))


@dataclass(frozen=True)
class Known:
    """The hashes of images, by which these are recognised."""

    files: frozenset[bytes] = frozenset()
    pixels: frozenset[bytes] = frozenset()

    def holds(self, images: Images) -> npt.NDArray[np.bool_]:
        """Return which images are among these, (N,): with the file or, if recorded, the pixels of one."""
        found = np.zeros(len(images), bool)
        for digest, known in ((content_hash, self.files), (pixel_hash, self.pixels)):
            if known:
                rows = np.flatnonzero(~found)
                found[rows] = [item in known for item in _each(digest, images, rows)]
        return found


def pack(images: Images) -> str | None:
    """Return the hashes of images' files as a text for a lineage; None if they are too many for one."""
    return _packed(_each(content_hash, images, range(len(images)))) if len(images) <= MOST_RECORDED else None


def pack_pixels(images: Images) -> str | None:
    """Return the hashes of images' pixels as a text for a lineage; None if they are too many to decode."""
    rows = range(len(images))
    if len(rows) > MOST_DECODED:
        return None
    if not _affordable([sides for sides in _each(_sides, images, rows) if sides]):
        return None
    return _packed(_each(pixel_hash, images, rows))


def _packed(hashes: Iterable[bytes | None]) -> str:
    return base64.b64encode(b"".join(sorted({item for item in hashes if item}))).decode()


def unpack(text: str) -> frozenset[bytes]:
    """Return what `pack` was given; raises ArtifactError for a text that is not its."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ArtifactError("the lineage's hashes of training images are damaged") from error
    return frozenset(content[start : start + _BYTES] for start in range(0, len(content), _BYTES))
