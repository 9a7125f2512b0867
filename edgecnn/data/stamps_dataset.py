"""The composed pictures as a data set: made once, and then read from the user's cache."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL

from edgecnn import files
from edgecnn.data import stamps
from edgecnn.data.dataset import DataSet, Examples
from edgecnn.data.split import Split
from edgecnn.data.stamps import CLASSES, PARTS, Stamps
from edgecnn.errors import DataError
from edgecnn.progress import Progress
from edgecnn.tasks.boxes import Boxes

#: Pictures of each part.
COUNTS = {"train": 3000, "validation": 300, "test": 500}
#: Sides of a picture, in pixels: unless said, and the limits.
SIZE, _SMALLEST, _LARGEST = 192, 32, 640
MASKS = "stamps-masks"
_Arrays = dict[str, npt.NDArray[np.generic]]


def open_stamps(name: str, split: Split, progress: Progress) -> DataSet:
    """Open `stamps` (boxes) or `stamps-masks`, with `:SIZE` for another side than 192 pixels.

    Parts are published: the seed of a split changes nothing. Raises DataError.
    """
    size = _size(name)
    folder = files.cache_folder() / "stamps" / _version(size)
    parts = {part: _part(folder, part, size, progress) for part in PARTS}
    masks = name.partition(":")[0] == MASKS
    examples = {part: _masks(arrays) if masks else _boxes(arrays) for part, arrays in parts.items()}
    digest = hashlib.sha256(repr((name.partition(":")[0], size)).encode())
    for arrays in parts.values():
        digest.update(arrays["sha256"].tobytes())
    classes = ("background", *CLASSES) if masks else tuple(CLASSES)
    return DataSet(
        name, classes, 3, examples["train"], examples["validation"], examples["test"], digest.hexdigest()
    )


def _size(name: str) -> int:
    text = name.partition(":")[2]
    if not text:
        return SIZE
    if not text.isdecimal() or not _SMALLEST <= int(text) <= _LARGEST:
        raise DataError(
            f"{name} says no size of pictures", hint=f"as in stamps:160; {_SMALLEST} to {_LARGEST} pixels"
        )
    return int(text)


def _version(size: int) -> str:
    """Return what tells one set of pictures from another: all that they depend on."""
    known = [f"{size} {PIL.__version__} {COUNTS}", Path(stamps.__file__).read_text("utf-8")]
    known += [f"{file} {file.stat().st_size}" for own in stamps.cut_out_files() for file in own]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]


def _part(folder: Path, part: str, size: int, progress: Progress) -> _Arrays:
    """Return the arrays of a part: from the cache, else composed and kept there."""
    kept = folder / f"{part}.npz"
    try:
        with np.load(kept, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        progress(f"{kept} is damaged ({error}), and made anew")
    arrays = _composed(part, size, progress)
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    files.make_folder(folder, "set XDG_CACHE_HOME")
    files.write_atomic(kept, stream.getvalue(), durable=False)
    return arrays


def _composed(part: str, size: int, progress: Progress) -> _Arrays:
    source, count = Stamps(part, size), COUNTS[part]
    source.compose(0)  # opens the cut-outs, once for all threads
    pictures = np.empty((count, size, size, 3), np.uint8)
    masks = np.empty((count, size, size), np.uint8)

    def fill(number: int) -> Boxes:
        made = source.compose(number)
        pictures[number], masks[number] = made.pixels, made.mask
        return made.boxes

    boxes: list[Boxes] = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "edgecnn-stamps") as pool:
        for number, found in enumerate(pool.map(fill, range(count))):
            boxes.append(found)
            if number % 100 == 0:
                progress(f"composing pictures that {_VERBS[part]}: {100 * number // count} %")
    arrays: _Arrays = {
        "pictures": pictures,
        "masks": masks,
        "counts": np.array([len(item) for item in boxes]),
        "corners": np.concatenate([item.corners for item in boxes]),
        "classes": np.concatenate([item.classes for item in boxes]),
        "crowd": np.concatenate([item.crowd for item in boxes if item.crowd is not None]),
    }
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values()))
    return {**arrays, "sha256": np.frombuffer(digest.digest(), np.uint8)}


_VERBS = {"train": "train", "validation": "validate", "test": "test"}


def _boxes(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Examples:
    ends = np.cumsum(arrays["counts"])[:-1]
    columns = (np.split(arrays[key], ends) for key in ("corners", "classes", "crowd"))
    labels = [Boxes(corners, classes, crowd=crowd) for corners, classes, crowd in zip(*columns, strict=True)]
    return Examples(arrays["pictures"], labels, "detection")


def _masks(arrays: Mapping[str, npt.NDArray[np.generic]]) -> Examples:
    return Examples(arrays["pictures"], arrays["masks"], "segmentation")
