"""Data sets of the Hugging Face hub, through its own library."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import optional_packages
from edgecnn.data import identity
from edgecnn.data.dataset import DataSet, Examples, count_channels, file_size
from edgecnn.data.split import PART_NAMES, Split, complete
from edgecnn.errors import DataError
from edgecnn.progress import Progress
from edgecnn.runtime.image_files import ImageLike


class EncodedImages:
    """The image column of a table: files as they are stored, decoded by who needs them."""

    def __init__(self, rows: Any, column: str) -> None:
        self._rows = rows
        self._column = column

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> ImageLike:
        image = self._rows[int(index)][self._column]
        if image is None:
            raise DataError("it has no image")
        return image["bytes"] if image["bytes"] is not None else Path(image["path"])


def open_huggingface(name: str, split: Split, progress: Progress) -> DataSet:
    """Open `hf:OWNER/NAME`, `hf:OWNER/NAME:CONFIG` or `hf:FOLDER` with a data set's files.

    The images and their classes are the columns of those types. Splits whose classes are not published
    (the class -1) count as missing. Raises DataError.
    """
    library = optional_packages.require("datasets", "opening a Hugging Face data set")
    repository, _, config = name.removeprefix("hf:").partition(":")
    progress(f"opening {name}")
    try:
        tables = library.load_dataset(repository, config or None)
    except Exception as error:  # the library lets errors of every package it uses through
        raise DataError(
            f"cannot open {name}: {_first_line(error)}",
            hint="check OWNER/NAME at https://huggingface.co/datasets; some need hf:OWNER/NAME:CONFIG",
        ) from error
    image, label, classes = _columns(name, next(iter(tables.values())).features, library, progress)
    given: dict[str, Examples] = {}
    sizes: list[int] = []
    digest = hashlib.sha256()
    for part, names in PART_NAMES.items():
        found = next((tables[key] for key in names if key in tables), None)
        if found is None:
            continue
        labels = np.array(found.with_format("numpy")[label][:], np.int64)
        if len(labels) and labels.min() < 0:
            progress(f"the classes of the part {part} are not published")
            continue
        encoded = found.cast_column(image, library.Image(decode=False))
        given[part] = Examples(EncodedImages(encoded, image), labels)
        digest.update(repr((part, *classes)).encode())
        digest.update(labels.tobytes())
        lines = _files(encoded, image)
        for line in lines:
            digest.update(repr(line).encode())
        if part == "train":
            sizes = [line[-1] for line in lines]
    if "train" not in given:
        raise DataError(f"{name} has no part called train", hint=f"its parts: {', '.join(tables)}")
    keys = np.random.default_rng(split.seed).random(len(given["train"]))
    channels = count_channels(given["train"].images)
    found = identity.find_copies(given["train"].images, sizes)
    notes = [found.note] if found.note else []
    if copies := len(found.rows):
        notes.append(f"{copies} images are copies of others: all copies are on the same side of the split")
    return DataSet(
        name,
        classes,
        channels,
        *complete(name, given, keys, split, found.firsts),
        digest.hexdigest(),
        notes=tuple(notes),
    )


def _columns(name: str, features: Any, library: Any, progress: Progress) -> tuple[str, str, tuple[str, ...]]:
    """Return the column of the images, the one of the classes, and the names of the classes."""
    images = [key for key, feature in features.items() if isinstance(feature, library.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, library.ClassLabel)]
    if not images or not labels:
        missing = "images" if not images else "classes"
        raise DataError(f"{name} has no column of {missing}", hint=f"its columns: {', '.join(features)}")
    for what, columns in (("images", images), ("classes", labels)):
        if len(columns) > 1:
            progress(f"the {what} are those of the column {columns[0]}, not of {', '.join(columns[1:])}")
    return images[0], labels[0], tuple(features[labels[0]].names)


def _files(encoded: Any, column: str) -> list[tuple[Any, ...]]:
    """Return the size of every image, in bytes, after its name if it is a file; no image is read."""
    lines: list[tuple[Any, ...]] = []
    compute = optional_packages.require("pyarrow.compute", "opening a Hugging Face data set")
    for chunk in encoded.data.column(column).chunks:
        lengths = compute.binary_length(chunk.field("bytes")).to_pylist()
        for length, path in zip(lengths, chunk.field("path").to_pylist(), strict=True):
            lines.append((length,) if length is not None else (Path(path).name, file_size(Path(path))))
    return lines


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
