"""Which columns of a hub's table hold images and labels: classes, boxes or masks."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data.box_files import size_of
from edgecnn.data.dataset import Examples, Images
from edgecnn.data.label_faults import Faults, checked
from edgecnn.data.mask_files import MaskFiles, values_in
from edgecnn.errors import DataError
from edgecnn.progress import Progress
from edgecnn.tasks.boxes import Boxes

#: What the column of a mask is called, and the fields of objects: their boxes, their classes, and crowds.
_MASKS = ("mask", "masks", "label", "labels", "annotation", "segmentation", "segmentation_mask", "semantic")
_BOXES, _CLASSES, _CROWDS = (
    ("bbox", "bboxes", "boxes"),
    ("category", "categories", "label", "labels"),
    "iscrowd",
)


@dataclass(frozen=True)
class Columns(abc.ABC):
    """The column of the images, and where the labels are."""

    image: str
    label: str
    classes: tuple[str, ...]

    @property
    def in_images(self) -> bool:
        """Whether the labels are images too."""
        return False

    @abc.abstractmethod
    def examples(
        self, table: Any, images: Images, masks: Any, faults: Faults
    ) -> tuple[Examples, npt.NDArray[np.int64]] | None:
        """Return the examples of a part and the rows of the table that they are; None if it has no labels."""

    def content(self, examples: Examples) -> bytes:
        """Return what tells these labels from others."""
        keys = [examples.kind.key(examples.labels, row, self.classes) for row in range(len(examples))]
        return repr(keys).encode()


class ClassColumns(Columns):
    """A class for each image."""

    def examples(
        self, table: Any, images: Images, masks: Any, faults: Faults
    ) -> tuple[Examples, npt.NDArray[np.int64]] | None:
        """Return the classes; None where they are not published, and are -1."""
        labels = np.array(table.with_format("numpy")[self.label][:], np.int64)
        if len(labels) and labels.min() < 0:
            return None
        return Examples(images, labels), np.arange(len(labels))

    def content(self, examples: Examples) -> bytes:
        """Return the classes."""
        return bytes(examples.labels.tobytes())


@dataclass(frozen=True)
class BoxColumns(Columns):
    """Objects of each image, whose boxes are COCO's: x, y, width, height in pixels."""

    box: str
    kind: str

    def examples(
        self, table: Any, images: Images, masks: Any, faults: Faults
    ) -> tuple[Examples, npt.NDArray[np.int64]] | None:
        """Return the boxes; of an image that cannot be read none: the loader lists it."""
        labels: list[Boxes] = []
        rows: list[int] = []
        for row, objects in enumerate(table.select_columns([self.label])):
            corners, numbers, crowd = self._objects(objects[self.label], f"image {row}", faults)
            size = size_of(images, row)
            if size is None:
                corners, numbers, crowd = [], [], []
            boxes = (
                checked(corners, numbers, crowd, size, f"image {row}", faults)
                if size
                else Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
            )
            if boxes is not None:
                rows.append(row)
                labels.append(boxes)
        kept = np.array(rows, np.int64)
        every = Examples(images, np.zeros(len(images), np.int64)).take(kept)
        return Examples(every.images, labels, "detection"), kept

    def _objects(
        self, objects: Any, place: str, faults: Faults
    ) -> tuple[list[list[float]], list[int], list[bool]]:
        rows = _rows(objects)
        found = [item for item in rows if isinstance(item.get(self.box), list) and len(item[self.box]) == 4]
        faults.add("objects left out whose box is not four numbers", place, len(rows) - len(found))
        corners = [[float("nan") if v is None else float(v) for v in item[self.box]] for item in found]
        corners = [[x, y, x + width, y + height] for x, y, width, height in corners]
        numbers = [item[self.kind] for item in found]
        known = [
            number if isinstance(number, int) and 0 <= number < len(self.classes) else -1
            for number in numbers
        ]
        return corners, known, [bool(item.get(_CROWDS)) for item in found]


class MaskColumns(Columns):
    """A second image for each, whose values are classes."""

    @property
    def in_images(self) -> bool:
        """Return that they are."""
        return True

    def examples(
        self, table: Any, images: Images, masks: Any, faults: Faults
    ) -> tuple[Examples, npt.NDArray[np.int64]] | None:
        """Return the masks."""
        return Examples(images, MaskFiles(masks, len(self.classes)), "segmentation"), np.arange(len(images))


def find_columns(name: str, table: Any, masks_of: Any, library: Any, progress: Progress) -> Columns:
    """Return the columns of a data set; `masks_of` gives the images of a column. Raises DataError."""
    features = table.features
    images = [key for key, feature in features.items() if isinstance(feature, library.Image)]
    classes = [key for key, feature in features.items() if isinstance(feature, library.ClassLabel)]
    masks = [key for key in images[1:] if key.lower() in _MASKS]
    objects = [key for key, feature in features.items() if _box_fields(feature) is not None]
    if not images:
        raise DataError(f"{name} has no column of images", hint=f"its columns: {', '.join(features)}")
    for what, columns in (("images", [key for key in images if key not in masks]), ("classes", classes)):
        if len(columns) > 1:
            progress(f"the {what} are those of the column {columns[0]}, not of {', '.join(columns[1:])}")
    if classes:
        return ClassColumns(images[0], classes[0], tuple(features[classes[0]].names))
    if objects:
        box, kind = _box_fields(features[objects[0]])  # type: ignore[misc]
        named = _fields(features[objects[0]])[kind]
        return BoxColumns(images[0], objects[0], _names(named, table, objects[0], kind), box, kind)
    if masks:
        present = values_in(masks_of(masks[0]))
        return MaskColumns(images[0], masks[0], tuple(map(str, range(max(2, max(present) + 1)))))
    raise DataError(
        f"{name} has no column of classes, boxes or masks", hint=f"its columns: {', '.join(features)}"
    )


def _fields(feature: Any) -> Mapping[str, Any]:
    """Return the fields of objects: of a list of records, or of a record of lists."""
    inner = getattr(feature, "feature", feature)
    return inner if isinstance(inner, dict) else {}


def _box_fields(feature: Any) -> tuple[str, str] | None:
    """Return the fields of the box and of the class; None for a column that holds no objects."""
    fields = _fields(feature)
    box = next((key for key in _BOXES if key in fields), None)
    kind = next((key for key in _CLASSES if key in fields), None)
    return (box, kind) if box and kind else None


def _names(feature: Any, table: Any, column: str, kind: str) -> tuple[str, ...]:
    """Return the names of the classes; of numbers without names the numbers."""
    inner = getattr(feature, "feature", feature)
    if hasattr(inner, "names"):
        return tuple(inner.names)
    numbers = [item[kind] for row in table.select_columns([column]) for item in _rows(row[column])]
    whole = [number for number in numbers if isinstance(number, int)]
    return tuple(map(str, range(max(whole, default=0) + 1)))


def _rows(objects: Any) -> list[dict[str, Any]]:
    """Return a record for each object."""
    if isinstance(objects, dict):
        lists = {key: value for key, value in objects.items() if isinstance(value, list)}
        count = min((len(value) for value in lists.values()), default=0)
        return [{key: value[index] for key, value in lists.items()} for index in range(count)]
    return [item for item in _iterable(objects) if isinstance(item, dict)]


def _iterable(objects: Any) -> Iterable[Any]:
    return objects if isinstance(objects, list) else []
