"""Random changes of training images that leave their class what it is."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from edgecnn.data.crops import random_box
from edgecnn.data.randaugment import Fill, move, randaugment
from edgecnn.errors import UnknownNameError
from edgecnn.registry import suggest
from edgecnn.runtime.preprocessing import ImageLike, Preprocessing, open_image

#: Attempts to place an erased rectangle inside the picture.
_ATTEMPTS = 10


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image on its way to a network's input, in the order of the fields."""

    name: str
    #: Smallest and largest area of a random crop, as shares of the image (Szegedy et al. 2014, section 6);
    #: None for the preprocessing's own resizing and central crop.
    crop: tuple[float, float] | None = None
    #: Half of the images are mirrored.
    flip: bool = False
    #: Largest shift along each axis, in whole pixels, as a share of the size.
    shift: float = 0.0
    #: Largest rotation, in degrees.
    rotate: float = 0.0
    #: Largest change of size, as a share.
    zoom: float = 0.0
    #: Largest change of brightness, contrast and saturation, as a share, in random order.
    jitter: float = 0.0
    #: RandAugment's number of operations and strength (0 to 10); None for none.
    randaugment: tuple[int, float] | None = None
    #: Share of the images in which a rectangle becomes noise (Zhong et al. 2017).
    erase: float = 0.0
    #: Grey value, 0..255, of what moving uncovers; None for the preprocessing's mean colour.
    fill: int | None = None

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self != Augmentation(self.name, fill=self.fill)

    def prepare(self, image: ImageLike, preprocessing: Preprocessing) -> Image.Image:
        """Return the part of the work that is the same each time: decoding, and resizing as far as it goes.

        Images of which crops are taken keep a shorter side with which the smallest crop fills the input.
        Raises DataError for an image that cannot be read.
        """
        if self.crop is None:
            return preprocessing.picture(image)
        picture = preprocessing.colour(open_image(image))
        largest = math.ceil(max(preprocessing.size) / math.sqrt(self.crop[0]))
        if min(picture.size) <= largest:
            return picture
        scale = largest / min(picture.size)
        return picture.resize(
            (round(scale * picture.width), round(scale * picture.height)),
            preprocessing.resample,
        )

    def apply(
        self, picture: Image.Image, preprocessing: Preprocessing, rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """Return the random view (H, W, C) uint8 of what `prepare` returned; `rng` decides everything."""
        size = (preprocessing.width, preprocessing.height)
        if self.crop is not None:
            box = random_box(picture.size, self.crop, rng)
            picture = picture.resize(size, preprocessing.resample, box=box)
        if self.flip and rng.random() < 0.5:
            picture = ImageOps.mirror(picture)
        if self.shift or self.rotate or self.zoom:
            picture = self._moved(picture, self._fill(preprocessing), rng)
        if self.jitter:
            picture = self._jittered(picture, rng)
        if self.randaugment is not None:
            picture = randaugment(picture, *self.randaugment, self._fill(preprocessing), rng)
        frame = preprocessing.frame_of(picture)
        if self.erase and rng.random() < self.erase:
            frame = _erased(frame, rng)
        return frame

    def __call__(
        self, image: ImageLike, preprocessing: Preprocessing, rng: np.random.Generator
    ) -> npt.NDArray[np.uint8]:
        """Return a random view of an image, (H, W, C) uint8; raises DataError if it cannot be read."""
        return self.apply(self.prepare(image, preprocessing), preprocessing, rng)

    def _fill(self, preprocessing: Preprocessing) -> Fill:
        grey = preprocessing.color == "grey"
        if self.fill is not None:
            return self.fill if grey else (self.fill,) * 3
        levels = [min(255, max(0, round(255 // preprocessing.pixels * mean))) for mean in preprocessing.mean]
        if grey:
            return levels[0]
        one, two, three = itertools.islice(itertools.cycle(levels), 3)
        return (three, two, one) if preprocessing.color == "bgr" else (one, two, three)

    def _moved(self, picture: Image.Image, fill: Fill, rng: np.random.Generator) -> Image.Image:
        limits = np.rint(np.multiply(picture.size, self.shift)).astype(int)
        right, down = rng.integers(-limits, limits + 1).tolist()
        if not self.rotate and not self.zoom:
            return move(picture, (1, 0, -right, 0, 1, -down), fill, Image.Resampling.NEAREST)
        turn, grow = rng.uniform(-1, 1, 2).tolist()
        angle, scale = math.radians(turn * self.rotate), 1 + grow * self.zoom
        cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
        # The centre of the picture stays where the shift puts it.
        x, y = picture.width / 2, picture.height / 2
        across = x - cosine * (x + right) - sine * (y + down)
        along = y + sine * (x + right) - cosine * (y + down)
        return move(picture, (cosine, sine, across, -sine, cosine, along), fill)

    def _jittered(self, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
        kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for row in rng.permutation(len(kinds)):
            picture = kinds[row](picture).enhance(1 + rng.uniform(-self.jitter, self.jitter))
        return picture


def _erased(frame: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Fill a rectangle of 2 to 40 % of the area, with sides as 0.3 to 1/0.3, with noise."""
    high, wide = frame.shape[:2]
    for _ in range(_ATTEMPTS):
        area, ratio = rng.uniform(0.02, 0.4) * high * wide, rng.uniform(0.3, 1 / 0.3)
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < height < high and 0 < width < wide:
            top, left = rng.integers(0, high - height), rng.integers(0, wide - width)
            frame = frame.copy()
            noise = rng.integers(0, 256, (height, width, frame.shape[2]), np.uint8)
            frame[top : top + height, left : left + width] = noise
            return frame
    return frame


_PRESETS = {
    preset.name: preset
    for preset in (
        Augmentation("none"),
        # Digits change their meaning when mirrored, and stand on black.
        Augmentation("digits", shift=0.08, rotate=10.0, zoom=0.1, fill=0),
        # Four pixels of 32, and mirrored: He et al. 2015, section 4.2.
        Augmentation("light", flip=True, shift=0.125),
        # Small networks learn less from very small crops: Howard et al. 2017, section 3.2.
        Augmentation("standard", crop=(0.25, 1.0), flip=True, jitter=0.3),
        # And weaker operations: RandAugment's section 4.1.
        Augmentation("strong", crop=(0.25, 1.0), flip=True, jitter=0.3, randaugment=(2, 5.0), erase=0.25),
    )
}
AUGMENTATIONS = tuple(_PRESETS)


def augmentation(name: str) -> Augmentation:
    """Return a preset: `none`, `digits`, `light`, `standard` or `strong`; raises UnknownNameError."""
    if name not in _PRESETS:
        raise UnknownNameError(f"unknown augmentation {name!r}", hint=suggest(name, list(_PRESETS)))
    return _PRESETS[name]
