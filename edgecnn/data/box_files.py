"""What the formats with boxes share: the sizes of pictures, and which pictures become examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgecnn.data.dataset import Examples, Images
from edgecnn.data.label_faults import Faults, checked
from edgecnn.errors import DataError
from edgecnn.files import unlike_file
from edgecnn.image_size import Size
from edgecnn.runtime.image_files import read_size
from edgecnn.tasks.boxes import Boxes


@dataclass
class Described:
    """What a description says of one picture, before the picture is looked at."""

    file: Path
    #: x0, y0, x1, y1 in pixels; of `relative` boxes in shares of the sides.
    corners: list[tuple[float, float, float, float]] = field(default_factory=list)
    #: -1 for an unknown one.
    classes: list[int] = field(default_factory=list)
    #: What counts neither as found nor as missed.
    crowd: list[bool] = field(default_factory=list)
    relative: bool = False
    #: Of the picture as the description says; None if it does not.
    size: Size | None = None

    def add(self, corners: tuple[float, float, float, float], label: int, crowd: bool = False) -> None:
        """Add a box."""
        self.corners.append(corners)
        self.classes.append(label)
        self.crowd.append(crowd)


def examples(described: Sequence[Described], root: Path, faults: Faults) -> Examples:
    """Return pictures with their boxes, by path; what cannot be used is left out and counted.

    A picture that cannot be read stays, without boxes: the loader lists it.
    """
    there = [item for item in described if _is_there(item.file, root, faults)]
    there.sort(key=lambda item: item.file)
    images: list[Path] = []
    labels: list[Boxes] = []
    for item, size in zip(there, sizes([item.file for item in there]), strict=True):
        place = _inside(item.file, root)
        if size is None:
            images.append(item.file)
            labels.append(Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)))
            continue
        if item.size is not None and item.size != size:
            faults.add("images left out that have another size than their labels say", place)
            continue
        corners = item.corners
        if item.relative:
            sides = (size.width, size.height, size.width, size.height)
            corners = [tuple(v * s for v, s in zip(box, sides, strict=True)) for box in corners]  # type: ignore[misc]
        boxes = checked(corners, item.classes, item.crowd, size, place, faults)
        if boxes is not None:
            images.append(item.file)
            labels.append(boxes)
    return Examples(images, labels, "detection")


def sizes(files: Sequence[Path]) -> list[Size | None]:
    """Return the size of each picture, held upright; None for what cannot be read. Only headers are."""
    with ThreadPoolExecutor(thread_name_prefix="edgecnn-sizes") as pool:
        return list(pool.map(lambda row: size_of(files, row), range(len(files))))


def size_of(images: Images, row: int) -> Size | None:
    """Return the size of one picture, held upright; None for one that cannot be read."""
    try:
        return read_size(images[row])
    except DataError:
        return None


def _is_there(file: Path, root: Path, faults: Faults) -> bool:
    """Return whether a picture is a file below the data set's folder."""
    if ".." in file.parts[len(root.parts) :] or root not in file.parents:
        faults.add("labels left out of images outside of the data set's folder", file)
        return False
    if unlike_file(file):
        faults.add("labels left out whose image is not there", _inside(file, root))
        return False
    return True


def _inside(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if root in file.parents else str(file)


def class_numbers(names: Sequence[str], name: str) -> Callable[[str], int]:
    """Return what gives the number of a class, -1 of an unknown one; DataError where two have one name."""
    numbers = {text: index for index, text in enumerate(names)}
    if len(numbers) < len(names):
        twice = next(text for text in names if list(names).count(text) > 1)
        raise DataError(f"{name} has two classes called {twice}", hint="give every class a name of its own")
    if not names:
        raise DataError(f"{name} names no classes")
    return lambda text: numbers.get(text, -1)
