"""What a data set is: images, their labels, and the parts that train, validate and test."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data.label_kinds import LABEL_KINDS, LabelKind
from edgecnn.data.sequences import ByIndex, Picked
from edgecnn.errors import DataError
from edgecnn.runtime.image_files import ImageLike, read_header
from edgecnn.runtime.labels import label_set

#: So many images say whether they all are grey.
_PEEKED = 32


#: Images by index: a list of paths, an array (N, H, W) or (N, H, W, 3) uint8, what opens them later.
Images = ByIndex[ImageLike]


@dataclass(frozen=True)
class Examples:
    """Images and the label of each, opened when they are needed.

    Labels are the classes, (N,) int64; for detection a `Boxes` for each image, in pixels of the picture as
    `open_image` gives it; for segmentation a mask of that picture's size, (H, W) uint8 or int32 of classes,
    255 where none counts.
    """

    images: Images
    labels: Any
    #: What the labels are for.
    task: str = "classification"

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(f"{len(self.images)} images have {len(self.labels)} labels")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        """Return the examples of these rows."""
        images = self.images[rows] if isinstance(self.images, np.ndarray) else Picked(self.images, rows)
        return Examples(images, self.kind.take(self.labels, rows), self.task)

    @property
    def kind(self) -> LabelKind:
        """How the labels are handled."""
        return LABEL_KINDS.get(self.task)


@dataclass(frozen=True)
class DataSet:
    """Labelled images of one task in three disjoint parts."""

    #: As the user gave it.
    name: str
    #: As in a manifest: "digits", "imagenet" or the names of the classes.
    labels: str | tuple[str, ...]
    #: 1 for grey images, 3 for colour.
    channels: int
    train: Examples
    validation: Examples
    test: Examples
    #: SHA-256 of what it holds: pixels and labels, or the names, sizes and classes of its files.
    sha256: str
    #: Of the split: which images test and validate, where the data set does not say.
    split_seed: int = 0
    #: What was left out or moved, each in a sentence.
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> str:
        """What the labels are for: "classification", "detection" or "segmentation"."""
        return self.train.task

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        return label_set(self.labels) if isinstance(self.labels, str) else self.labels

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


def demand_task(dataset: DataSet, task: str) -> DataSet:
    """Return a data set that is labelled for a task; raises DataError for another one."""
    if dataset.task == task:
        return dataset
    needed = LABEL_KINDS.get(task)
    raise DataError(
        f"{dataset.name} has {dataset.train.kind.what}, for {dataset.task}; {task} needs {needed.what}",
        hint=f"give images with {needed.what}, or a network for {dataset.task}",
    )


def fingerprint(*parts: Examples) -> str:
    """Return the SHA-256 of examples whose images are arrays: shapes, pixels and labels."""
    digest = hashlib.sha256()
    for part in parts:
        pixels = np.ascontiguousarray(part.images)
        digest.update(repr(pixels.shape).encode())
        digest.update(pixels.data)
        digest.update(np.ascontiguousarray(part.labels).data)
    return digest.hexdigest()


def file_size(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it cannot be seen: the loader lists what cannot be read."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def count_channels(images: Images) -> int:
    """Return 1 if the images are all grey, else 3. Only the headers of some are read."""
    modes = set()
    for row in np.linspace(0, len(images) - 1, _PEEKED, dtype=int):
        with contextlib.suppress(DataError):  # the loader lists what cannot be read
            modes.add(read_header(images[int(row)]).mode)
    return 1 if modes and all(mode in ("1", "L", "LA") or mode.startswith("I;16") for mode in modes) else 3
