"""Masks that lie in files: the class of every pixel, by its value or its colour."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data.sequences import ByIndex
from edgecnn.errors import DataError
from edgecnn.runtime.image_files import ImageLike, open_unprepared
from edgecnn.tasks.view import IGNORED

#: (H, W) uint8, or int32 where there are more than 255 classes.
Mask = npt.NDArray[Any]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class MaskFiles:
    """A file for each image, or the bytes of one, opened when its mask is needed."""

    files: ByIndex[ImageLike]
    #: How many classes there are.
    classes: int
    #: The class of each colour, where masks are in colour; else the values are the classes.
    colours: Mapping[Colour, int] = field(default_factory=dict)
    #: What values stand for that are no classes of their own.
    values: Mapping[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int, /) -> Mask:
        """Return the mask of an image, (H, W). Raises DataError for a file that is none."""
        file = self.files[int(row)]
        name = _name(file, row)
        pixels = mask_values(file, name, self.colours)
        for value, meant in self.values.items():
            pixels = np.where(pixels == value, meant, pixels)
        strange = pixels[(pixels >= self.classes) & (pixels != IGNORED)]
        if strange.size:
            raise DataError(
                f"{name} has pixels of the value {int(strange[0])}, and there are {self.classes} classes",
                hint="give all classes in classes.txt, a name in each line, or mend the mask",
            )
        return pixels.astype(np.uint8 if self.classes <= IGNORED else np.int32)

    def bytes_of(self, row: int) -> int:
        """Return the size of a file in bytes; 0 if it cannot be seen."""
        file = self.files[int(row)]
        if isinstance(file, bytes):
            return len(file)
        try:
            return Path(str(file)).stat().st_size
        except OSError:
            return 0


def values_in(files: ByIndex[ImageLike]) -> set[int]:
    """Return the values that masks hold, without the ignored one unless it is all but 0.

    A mask that cannot be read says nothing: the loader lists it. Raises DataError if none can.
    """

    def present(row: int) -> set[int] | DataError:
        try:
            return set(np.unique(mask_values(files[row], _name(files[row], row), {})).tolist())
        except DataError as error:
            return error

    with ThreadPoolExecutor(thread_name_prefix="edgecnn-masks") as pool:
        found = list(pool.map(present, range(len(files))))
    values = set[int]().union(*(item for item in found if isinstance(item, set)))
    if not values:
        raise next(item for item in found if isinstance(item, DataError))
    return values if values == {0, IGNORED} else values - {IGNORED}


def _name(file: ImageLike, row: int) -> str:
    return str(file) if isinstance(file, str | Path) else f"mask {row}"


def mask_values(file: ImageLike, name: str, colours: Mapping[Colour, int]) -> npt.NDArray[np.int32]:
    """Return a value for every pixel of a file, (H, W): of a palette its index. Raises DataError."""
    picture = open_unprepared(file)
    if picture.mode in ("1", "L", "P", "I", "I;16", "I;16B"):
        pixels = np.asarray(picture)
        return pixels.astype(np.int32)
    if not colours:
        raise DataError(
            f"{name} is in colour ({picture.mode}), and nothing says which colour is which class",
            hint="save it with a palette or in grey; or give classes.txt with lines of NAME RED GREEN BLUE",
        )
    pixels = np.asarray(picture.convert("RGB")).astype(np.int32)
    packed = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    found, where = np.unique(packed, return_inverse=True)
    known = {(red << 16) | (green << 8) | blue: index for (red, green, blue), index in colours.items()}
    strange = [value for value in found.tolist() if value not in known]
    if strange:
        rgb = tuple(strange[0] >> shift & 255 for shift in (16, 8, 0))
        raise DataError(f"{name} has pixels of the colour {rgb}, which is no class's")
    return np.array([known[value] for value in found.tolist()], np.int32)[where].reshape(packed.shape)
