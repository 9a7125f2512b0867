"""Pictures with exact boxes and masks, composed here: cut-outs of Tux Paint pasted onto photographs.

The cut-outs are those of Debian's package tuxpaint-stamps-default, the photographs those inside of the wheels
of scikit-image and scikit-learn. What trains, validates and tests shares neither a cut-out nor a region of a
photograph. Every picture depends on its part, its number and its size alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance

from edgecnn.data.builtin import photo
from edgecnn.errors import DataError
from edgecnn.runtime.image_files import open_image, open_unprepared, sample_photo
from edgecnn.tasks.boxes import Boxes

STAMPS = Path("/usr/share/tuxpaint/stamps")
PACKAGE = "tuxpaint-stamps-default"
#: By class: folders of cut-outs that look alike, a few dozen each.
CLASSES = {
    "bird": ("animals/birds",),
    "coin": ("symbols/money/*/coins",),
    "flower": ("plants/flowers",),
    "fruit": ("food/fruit",),
    "house": ("town/houses/cartoon",),
    "letter": ("symbols/alphabets/english/filled/*",),
    "sign": ("town/roadsigns",),
}
#: Photographs that show nothing of these classes.
PHOTOS = (
    "skimage/data/astronaut.png", "skimage/data/rocket.jpg", "skimage/data/motorcycle_left.png",
    "skimage/data/hubble_deep_field.jpg", "skimage/data/ihc.png", "skimage/data/retina.jpg",
    "skimage/data/brick.png", "skimage/data/gravel.png", "sklearn/datasets/images/china.jpg",
    "skimage/data/chelsea.png", "skimage/data/coffee.png", "skimage/data/camera.png",
    "skimage/data/grass.png",
)  # fmt: skip
#: Where each part's share of the cut-outs, and of each photograph from the left, begins and ends.
PARTS = {"train": (0.0, 0.6), "validation": (0.6, 0.75), "test": (0.75, 1.0)}

#: Objects of a picture, and their longer sides as shares of the picture's.
_FEWEST, _MOST = 1, 5
_SIDES = (0.15, 0.6)
_DEGREES = 25.0
#: By so much of its side an object may reach beyond the picture.
_BEYOND = 0.2
#: Of an object of which less is seen nobody can say what it is: it counts neither as found nor as missed.
_LEAST_SEEN = 0.25
_OPAQUE = 128


@dataclass(frozen=True)
class Composed:
    """A picture, and what is in it."""

    #: (size, size, 3) uint8.
    pixels: npt.NDArray[np.uint8]
    boxes: Boxes
    #: (size, size) uint8: 0 where no object is, else 1 and the number of the class.
    mask: npt.NDArray[np.uint8]


class Stamps:
    """The cut-outs and the regions of photographs of one part, at one size of pictures, in pixels."""

    def __init__(self, part: str, size: int) -> None:
        self._part, self._size = part, size
        self._seed = list(PARTS).index(part)

    def compose(self, number: int) -> Composed:
        """Return the picture of a number. Raises DataError where the cut-outs are not installed."""
        draws = np.random.default_rng([self._seed, number])
        picture = self._background(draws)
        owner = np.zeros((self._size, self._size), np.int16)
        labels: list[int] = []
        pixels: list[int] = []
        for _ in range(int(draws.integers(_FEWEST, _MOST + 1))):
            label = int(draws.integers(len(CLASSES)))
            cut_outs = self._cut_outs[label]
            stamp = self._turned(cut_outs[int(draws.integers(len(cut_outs)))], draws)
            left, top = (self._place(side, draws) for side in stamp.size)
            picture.paste(stamp, (left, top), stamp)
            labels.append(label)
            pixels.append(_own(owner, np.asarray(stamp)[..., 3] >= _OPAQUE, left, top, len(labels)))
        return Composed(np.asarray(picture), _boxes(owner, labels, pixels), _mask(owner, labels))

    @cached_property
    def _cut_outs(self) -> list[list[Image.Image]]:
        """The cut-outs of each class that are this part's, no larger than they are pasted."""
        largest = math.ceil(_SIDES[1] * self._size)
        found = []
        for files in cut_out_files():
            own = _share(files, self._part)
            pictures = [open_unprepared(file).convert("RGBA") for file in own]
            for picture in pictures:
                picture.thumbnail((2 * largest, 2 * largest), Image.Resampling.LANCZOS)
            found.append([picture.crop(picture.getchannel("A").getbbox()) for picture in pictures])
        return found

    @cached_property
    def _photos(self) -> list[Image.Image]:
        """This part's region of each photograph."""
        start, end = PARTS[self._part]
        pictures = [open_image(photo(name)).convert("RGB") for name in PHOTOS] + [sample_photo()]
        return [
            item.crop((round(start * item.width), 0, round(end * item.width), item.height))
            for item in pictures
        ]

    def _background(self, draws: np.random.Generator) -> Image.Image:
        """Return a square of a photograph, mirrored or not, lighter or darker."""
        region = self._photos[int(draws.integers(len(self._photos)))]
        side = min(region.size) * draws.uniform(0.4, 1.0)
        left, top = (draws.uniform(0, room - side) for room in region.size)
        box = (left, top, left + side, top + side)
        picture = region.resize((self._size, self._size), Image.Resampling.BILINEAR, box=box)
        if draws.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return ImageEnhance.Brightness(picture).enhance(draws.uniform(0.6, 1.3))

    def _turned(self, stamp: Image.Image, draws: np.random.Generator) -> Image.Image:
        """Return a cut-out at a random size, turned by a random angle."""
        side = self._size * math.exp(draws.uniform(math.log(_SIDES[0]), math.log(_SIDES[1])))
        scale = side / max(stamp.size)
        wide, high = (max(1, round(scale * length)) for length in stamp.size)
        small = stamp.resize((wide, high), Image.Resampling.BILINEAR)
        return small.rotate(draws.uniform(-_DEGREES, _DEGREES), Image.Resampling.BILINEAR, expand=True)

    def _place(self, side: int, draws: np.random.Generator) -> int:
        beyond = _BEYOND * side
        return round(draws.uniform(min(-beyond, self._size - side), max(0, self._size - side) + beyond))


def cut_out_files(root: Path | None = None) -> list[list[Path]]:
    """Return the files of each class, sorted; raises DataError where the package is not installed."""
    root = STAMPS if root is None else root
    found = [
        sorted(file for folder in folders for file in root.glob(f"{folder}/*.png"))
        for folders in CLASSES.values()
    ]
    if not all(len(files) >= len(PARTS) for files in found):
        raise DataError(
            f"the cut-outs that stamps are made of are not in {root}", hint=f"apt install {PACKAGE}"
        )
    return found


def _share(files: Sequence[Path], part: str) -> list[Path]:
    """Return a part's files of a class, shuffled always alike."""
    start, end = (round(share * len(files)) for share in PARTS[part])
    return [files[row] for row in np.random.default_rng(0).permutation(len(files))[start:end]]


def _own(
    owner: npt.NDArray[np.int16], opaque: npt.NDArray[np.bool_], left: int, top: int, number: int
) -> int:
    """Give an object the pixels that it covers; return how many it has, those beyond the picture too."""
    size = len(owner)
    rows, columns = slice(max(0, top), size), slice(max(0, left), size)
    shown = opaque[rows.start - top : size - top, columns.start - left : size - left]
    place = owner[rows.start : rows.start + shown.shape[0], columns.start : columns.start + shown.shape[1]]
    place[shown] = number
    return int(opaque.sum())


def _boxes(owner: npt.NDArray[np.int16], labels: Sequence[int], pixels: Sequence[int]) -> Boxes:
    """Return the boxes around what is seen of each object."""
    corners, classes, crowd = [], [], []
    for number, (label, count) in enumerate(zip(labels, pixels, strict=True), 1):
        seen = owner == number
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if len(rows):
            corners.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
            classes.append(label)
            crowd.append(seen.sum() < _LEAST_SEEN * count)
    return Boxes(np.array(corners, np.float32), np.array(classes, np.int64), crowd=np.array(crowd, bool))


def _mask(owner: npt.NDArray[np.int16], labels: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return 0 where no object is, else 1 and the number of its class."""
    return np.array([0, *(1 + label for label in labels)], np.uint8)[owner]
