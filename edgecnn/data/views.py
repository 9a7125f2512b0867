"""Several views of one image, as papers test their networks: crops, sizes, mirrored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import ImageLike, open_image
from edgecnn.runtime.image_limits import pixel_limit, too_large
from edgecnn.runtime.picture_fit import covering
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.resampling import resize

#: Sides along and across the picture of the grid that crops lie on, and whether it is mirrored too:
#: 10 of Krizhevsky et al. 2012, section 4.1; 50 of Simonyan and Zisserman 2014, section 3.2.
GRIDS = {1: (1, False), 5: (2, False), 10: (2, True), 50: (5, True)}
#: Crops of Szegedy et al. 2014, section 7: shorter sides for an input of 224, each of whose squares (left,
#: centre, right) gives corners, centre, and itself made smaller.
SZEGEDY, SZEGEDY_SIDES = 144, (256, 288, 320, 352)
CROPS = (*GRIDS, SZEGEDY)


@dataclass(frozen=True)
class Views:
    """Which views of an image are tested. Raises InvalidValueError for what cannot be combined."""

    #: One of CROPS, of every size.
    crops: int = 1
    #: Shorter sides, in pixels, that an image is resized to; none: the preprocessing's own.
    scales: tuple[int, ...] = ()
    #: Every view is there mirrored as well; of 10 crops and more it is already.
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.crops not in CROPS:
            raise InvalidValueError(
                f"`crops` {self.crops} is no way to crop", hint=", ".join(map(str, CROPS[:-1])) + " or 144"
            )
        if self.scales and self.crops == SZEGEDY:
            raise InvalidValueError(
                "144 crops bring their own `scales`", hint="leave `scales` out, or 50 crops"
            )
        if self.mirror and (self.crops == SZEGEDY or GRIDS[self.crops][1]):
            raise InvalidValueError(f"of {self.crops} crops half are mirrored", hint="leave `mirror` out")

    @property
    def is_plain(self) -> bool:
        """Whether there is one view, the one that the preprocessing gives."""
        return self == Views()

    @property
    def count(self) -> int:
        """Number of views of an image."""
        return self.crops * max(1, len(self.scales)) * (1 + self.mirror)

    def demand_fit(self, preprocessing: Preprocessing) -> None:
        """Raise InvalidValueError for an input that these views cannot fill."""
        if preprocessing.fit != "crop":
            raise InvalidValueError(
                f"images are fitted by {preprocessing.fit}, of which there are no further views",
                hint="`fit` crop",
            )
        least = min(preprocessing.size)
        for scale in self.scales:
            if scale < least:
                raise InvalidValueError(
                    f"`scales` {scale} is less than the input's {preprocessing.size}",
                    hint=f"{least} or more",
                )

    def frames(self, image: ImageLike, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
        """Return the views of an image, (count, height, width, channels) uint8, not normalized.

        Raises DataError for an image that cannot be read, or would be too large.
        """
        picture = prepare.colour(preprocessing, open_image(image))
        if self.crops == SZEGEDY:
            found = _szegedy(picture, preprocessing)
        else:
            found = self._of_grids(picture, preprocessing)
        frames = np.stack([prepare.frame_of(preprocessing, view) for view in found])
        mirrored = self.mirror or self.crops == SZEGEDY or GRIDS[self.crops][1]
        return np.concatenate([frames, frames[:, :, ::-1]]) if mirrored else frames

    def _of_grids(self, picture: Image.Image, preprocessing: Preprocessing) -> Iterator[Image.Image]:
        size = preprocessing.size
        own = covering(size, preprocessing.crop)
        wanted = [_enlarged(size, scale) for scale in self.scales] or [own]
        for least in wanted:
            resized = _resized(picture, least, preprocessing)
            yield from _grid(resized, size, GRIDS[self.crops][0])


def _szegedy(picture: Image.Image, preprocessing: Preprocessing) -> Iterator[Image.Image]:
    size = preprocessing.size
    for side in SZEGEDY_SIDES:
        least = Size(round(size.height * side / 224), round(size.width * side / 224))
        resized = _resized(picture, least, preprocessing)
        rooms = resized.height - least.height, resized.width - least.width
        for third in range(3):
            top, left = (round(room * third / 2) for room in rooms)
            square = resized.crop((left, top, left + least.width, top + least.height))
            yield from _grid(square, size, 2)
            yield resize(square, size, preprocessing.interpolation)


def _enlarged(size: Size, shorter: int) -> Size:
    """Return a size of the same shape whose shorter side is so long."""
    factor = shorter / min(size)
    return Size(round(size.height * factor), round(size.width * factor))


def _resized(picture: Image.Image, least: Size, preprocessing: Preprocessing) -> Image.Image:
    """Return a picture that just covers `least`, by the arithmetic of the preprocessing's own fit."""
    if least.width * picture.height >= least.height * picture.width:
        size = Size(int(least.width * picture.height / picture.width), least.width)
    else:
        size = Size(least.height, int(least.height * picture.width / picture.height))
    if size.pixels > pixel_limit():
        raise too_large(
            "the image", f"{picture.width} x {picture.height}, enlarged to {size.width} x {size.height}"
        )
    return resize(picture, size, preprocessing.interpolation)


def _grid(picture: Image.Image, size: Size, sides: int) -> Iterator[Image.Image]:
    """Yield crops that lie on a grid from corner to corner; of one or two sides the centre too."""
    rooms = picture.height - size.height, picture.width - size.width
    centre = tuple(round(room / 2) for room in rooms)
    corners: list[tuple[int, ...]] = []
    if sides > 1:
        along, across = ([round(room * step / (sides - 1)) for step in range(sides)] for room in rooms)
        corners = list(itertools.product(along, across))
    for top, left in [*corners, *([centre] if sides < 3 else [])]:
        yield picture.crop((left, top, left + size.width, top + size.height))
