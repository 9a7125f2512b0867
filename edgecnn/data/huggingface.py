"""Data sets of the Hugging Face hub, through its own library."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import optional_packages
from edgecnn.data import identity
from edgecnn.data.dataset import DataSet, Examples, count_channels, file_size
from edgecnn.data.huggingface_columns import find_columns
from edgecnn.data.label_faults import Faults
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

    The images and their classes are the columns of those types; without classes, objects with boxes or a
    second column of images, the masks. Splits whose classes are not published (the class -1) count as
    missing. Raises DataError.
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
    if "train" not in tables:
        raise DataError(f"{name} has no part called train", hint=f"its parts: {', '.join(tables)}")

    def encoded(table: Any, column: str) -> Any:
        return table.cast_column(column, library.Image(decode=False))

    def pictures(column: str) -> EncodedImages:
        return EncodedImages(encoded(tables["train"], column), column)

    columns = find_columns(name, tables["train"], pictures, library, progress)
    faults = Faults()
    given: dict[str, Examples] = {}
    sizes: list[int] = []
    digest = hashlib.sha256()
    for part, names in PART_NAMES.items():
        table = next((tables[key] for key in names if key in tables), None)
        if table is None:
            continue
        stored = encoded(table, columns.image)
        masks = EncodedImages(encoded(table, columns.label), columns.label) if columns.in_images else None
        labelled = columns.examples(table, EncodedImages(stored, columns.image), masks, faults)
        if labelled is None:
            progress(f"the classes of the part {part} are not published")
            continue
        given[part], rows = labelled
        digest.update(repr((part, *columns.classes)).encode())
        digest.update(columns.content(given[part]))
        lines = _files(stored, columns.image)
        for row in rows:
            digest.update(repr(lines[row]).encode())
        if part == "train":
            sizes = [lines[row][-1] for row in rows]
    if "train" not in given:
        raise DataError(f"{name} has no part called train", hint=f"its parts: {', '.join(tables)}")
    keys = np.random.default_rng(split.seed).random(len(given["train"]))
    channels = count_channels(given["train"].images)
    found = identity.find_copies(given["train"].images, sizes)
    notes = [*faults.notes, *([found.note] if found.note else [])]
    if copies := len(found.rows):
        notes.append(f"{copies} images are copies of others: all copies are on the same side of the split")
    return DataSet(
        name,
        columns.classes,
        channels,
        *complete(name, given, keys, split, found.firsts),
        digest.hexdigest(),
        notes=tuple(notes),
    )


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
