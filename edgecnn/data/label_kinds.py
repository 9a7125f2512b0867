"""What images are labelled with: a row for each task that has labels, which knows how they are handled."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data.framing import Framing
from edgecnn.data.mask_files import MaskFiles
from edgecnn.data.sequences import ByIndex, Joined, Picked
from edgecnn.errors import DataError
from edgecnn.image_size import Size
from edgecnn.registry import Registry
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.view import IGNORED

Rows = npt.NDArray[np.int64]


#: Labels by index: an array (N,) int64 of classes; what gives a `Boxes`, or a mask, for each image.
Labels = ByIndex[Any]


@dataclass(frozen=True)
class Renumbered:
    """Labels whose class i is called `indices[i]`, opened when they are needed."""

    labels: Labels
    indices: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int, /) -> Any:
        label = self.labels[index]
        if isinstance(label, Boxes):
            return Boxes(label.corners, self.indices[label.classes], label.scores, label.crowd)
        known = label != IGNORED
        return np.where(known, self.indices[np.where(known, label, 0)], label).astype(label.dtype)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


class LabelKind(abc.ABC):
    """How the labels of one task are taken, joined, counted and hashed."""

    #: As in a manifest.
    task: str
    #: What an image is labelled with, for people.
    what: str

    def take(self, labels: Labels, rows: Rows) -> Labels:
        """Return the labels of these rows, not opened yet."""
        return Picked(labels, rows)

    def join(self, parts: Sequence[Labels]) -> Labels:
        """Return labels one after the other."""
        return Joined(parts)

    def renumbered(self, labels: Labels, indices: Sequence[int]) -> Labels:
        """Return labels in which class i is `indices[i]`."""
        return Renumbered(labels, np.array(indices, np.int64))

    def opened(self, labels: Labels, row: int, picture: Size) -> Any:
        """Return the label of an image whose picture has a size. Raises DataError if it does not fit."""
        return labels[row]

    def framed(self, label: Any, framing: Framing) -> Any:
        """Return the label of a picture as that of a network's input, where the picture lies so."""
        return label

    def corners(self, label: Any) -> npt.NDArray[np.float32] | None:
        """Return the corners of the objects that a crop is to show, (n, 4); None where any part will do."""
        return None

    def batch(self, items: Sequence[Any]) -> Any:
        """Return the labels of several pictures as a metric takes them."""
        return list(items)

    def stacked(self, items: Sequence[Any]) -> Any:
        """Return the labels of a batch of inputs as a loss takes them."""
        return self.batch(items)

    @abc.abstractmethod
    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Return a number for each image, (N,): a split gives every number's images the same shares."""

    @abc.abstractmethod
    def counts(self, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
        """Return how often each class is there, (classes,)."""

    @abc.abstractmethod
    def key(self, labels: Labels, row: int, classes: Sequence[str]) -> object:
        """Return what tells the label of one image from others, without opening what lies in a file."""


class ClassIndices(LabelKind):
    """The class of an image; all of them are one array, (N,) int64."""

    task, what = "classification", "classes"

    def take(self, labels: Labels, rows: Rows) -> Labels:
        """Return the classes of these rows."""
        return np.asarray(np.asarray(labels)[rows])

    def join(self, parts: Sequence[Labels]) -> Labels:
        """Return classes one after the other."""
        return np.concatenate([np.asarray(part) for part in parts])

    def renumbered(self, labels: Labels, indices: Sequence[int]) -> Labels:
        """Return the classes by their other numbers."""
        return np.array(indices, np.int64)[np.asarray(labels, np.int64)]

    def batch(self, items: Sequence[Any]) -> Any:
        """Return (N,) int64."""
        return np.array(items, np.int64)

    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Return the class."""
        return np.asarray(labels, np.int64)

    def counts(self, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
        """Return the number of images of each class."""
        return np.bincount(np.asarray(labels, np.int64), minlength=classes)

    def key(self, labels: Labels, row: int, classes: Sequence[str]) -> object:
        """Return the class's name."""
        return classes[int(labels[row])]


class ObjectBoxes(LabelKind):
    """A `Boxes` for an image, in pixels of the picture as it is opened; empty where there is no object."""

    task, what = "detection", "boxes"

    def framed(self, label: Any, framing: Framing) -> Any:
        """Return the boxes in pixels of the input, without those of which too little is left."""
        return framing.boxes(label)

    def corners(self, label: Any) -> npt.NDArray[np.float32] | None:
        """Return those of all boxes; None where there is no box."""
        return label.corners if len(label) else None

    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Return the rarest class that an image has, so that its few images reach every part; -1 for none."""
        found = [np.unique(labels[row].classes) for row in range(len(labels))]
        images = np.bincount(np.concatenate([*found, np.zeros(0, np.int64)]).astype(np.int64))
        return np.array([own[images[own].argmin()] if len(own) else -1 for own in found], np.int64)

    def counts(self, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
        """Return the number of boxes of each class."""
        found = [labels[row].classes for row in range(len(labels))]
        return np.bincount(
            np.concatenate([*found, np.zeros(0, np.int64)]).astype(np.int64), minlength=classes
        )

    def key(self, labels: Labels, row: int, classes: Sequence[str]) -> object:
        """Return a hash of the corners, the classes' names and what is crowded."""
        label = labels[row]
        crowd = b"" if label.crowd is None else label.crowd.tobytes()
        shown = repr([classes[index] for index in label.classes]).encode()
        return hashlib.sha256(label.corners.tobytes() + shown + crowd).hexdigest()


class ClassMasks(LabelKind):
    """The class of every pixel of an image, (H, W) uint8 or int32; `IGNORED` where it counts nowhere."""

    task, what = "segmentation", "masks"

    def opened(self, labels: Labels, row: int, picture: Size) -> Any:
        """Return the mask, (H, W)."""
        mask = labels[row]
        if mask.shape != picture:
            raise DataError(f"image {row} is {picture}, and its mask {Size(*mask.shape)}")
        return mask

    def framed(self, label: Any, framing: Framing) -> Any:
        """Return the mask of the input; what the picture does not cover is ignored."""
        return framing.mask(label)

    def stacked(self, items: Sequence[Any]) -> Any:
        """Return (N, height, width) int64."""
        return np.array(items, np.int64)

    def strata(self, labels: Labels) -> npt.NDArray[np.int64]:
        """Return 0 for all: to see what is in them, every mask would have to be opened."""
        return np.zeros(len(labels), np.int64)

    def counts(self, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
        """Return the number of images in which each class is; what cannot be read counts nowhere."""
        total = np.zeros(classes, np.int64)
        for row in range(len(labels)):
            try:
                present = np.unique(labels[row])
            except DataError:
                continue  # the loader lists it
            total[present[present < classes]] += 1
        return total

    def key(self, labels: Labels, row: int, classes: Sequence[str]) -> object:
        """Return the classes' names, and the size of the mask's file if it lies in one."""
        held: object = labels
        while isinstance(held, Picked):
            row = int(held.rows[row])
            held = held.items
        return tuple(classes), held.bytes_of(row) if isinstance(held, MaskFiles) else None


#: By task.
LABEL_KINDS: Registry[LabelKind] = Registry("kind of labels")
for _kind in (ClassIndices(), ObjectBoxes(), ClassMasks()):
    LABEL_KINDS.add(_kind.task, _kind)
