"""Random changes of training images that leave their class what it is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from edgecnn.data.augmentations import Augmentation
from edgecnn.data.crops import random_box
from edgecnn.data.randaugment import Fill, move, randaugment
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import ImageLike, open_image
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.resampling import resample

#: Attempts to place an erased rectangle inside the picture.
_ATTEMPTS = 10


def prepared(augmentation: Augmentation, image: ImageLike, preprocessing: Preprocessing) -> Image.Image:
    """Return the part of the work that is the same each time: decoding, and resizing as far as it goes.

    Images of which crops are taken keep a shorter side with which the smallest crop fills the input.
    Raises DataError for an image that cannot be read.
    """
    if augmentation.crop is None:
        return prepare.picture(preprocessing, image)
    picture = prepare.colour(preprocessing, open_image(image))
    largest = math.ceil(max(preprocessing.size) / math.sqrt(augmentation.crop[0]))
    if min(picture.size) <= largest:
        return picture
    scale = largest / min(picture.size)
    return picture.resize(
        (round(scale * picture.width), round(scale * picture.height)),
        resample(preprocessing.interpolation),
    )


def applied(
    augmentation: Augmentation,
    picture: Image.Image,
    preprocessing: Preprocessing,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Return the random view (H, W, C) uint8 of what `prepared` returned; `rng` decides everything."""
    size = (preprocessing.width, preprocessing.height)
    if augmentation.crop is not None:
        box = random_box(picture.size, augmentation.crop, rng)
        picture = picture.resize(size, resample(preprocessing.interpolation), box=box)
    if augmentation.flip and rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if augmentation.shift or augmentation.rotate or augmentation.zoom:
        picture = _moved(augmentation, picture, _fill(augmentation, preprocessing), rng)
    if augmentation.jitter:
        picture = _jittered(augmentation, picture, rng)
    if augmentation.randaugment is not None:
        picture = randaugment(picture, *augmentation.randaugment, _fill(augmentation, preprocessing), rng)
    frame = prepare.frame_of(preprocessing, picture)
    if augmentation.erase and rng.random() < augmentation.erase:
        frame = _erased(frame, rng)
    return frame


def augmented(
    augmentation: Augmentation, image: ImageLike, preprocessing: Preprocessing, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return a random view of an image, (H, W, C) uint8; raises DataError if it cannot be read."""
    return applied(augmentation, prepared(augmentation, image, preprocessing), preprocessing, rng)


def _fill(augmentation: Augmentation, preprocessing: Preprocessing) -> Fill:
    grey = preprocessing.color == "grey"
    if augmentation.fill is not None:
        return augmentation.fill if grey else (augmentation.fill,) * 3
    levels = [min(255, max(0, round(255 // preprocessing.pixels * mean))) for mean in preprocessing.mean]
    if grey:
        return levels[0]
    one, two, three = itertools.islice(itertools.cycle(levels), 3)
    return (three, two, one) if preprocessing.color == "bgr" else (one, two, three)


def _moved(
    augmentation: Augmentation, picture: Image.Image, fill: Fill, rng: np.random.Generator
) -> Image.Image:
    limits = np.rint(np.multiply(picture.size, augmentation.shift)).astype(int)
    right, down = rng.integers(-limits, limits + 1).tolist()
    if not augmentation.rotate and not augmentation.zoom:
        return move(picture, (1, 0, -right, 0, 1, -down), fill, Image.Resampling.NEAREST)
    turn, grow = rng.uniform(-1, 1, 2).tolist()
    angle, scale = math.radians(turn * augmentation.rotate), 1 + grow * augmentation.zoom
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    # The centre of the picture stays where the shift puts it.
    x, y = picture.width / 2, picture.height / 2
    across = x - cosine * (x + right) - sine * (y + down)
    along = y + sine * (x + right) - cosine * (y + down)
    return move(picture, (cosine, sine, across, -sine, cosine, along), fill)


def _jittered(augmentation: Augmentation, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for row in rng.permutation(len(kinds)):
        picture = kinds[row](picture).enhance(1 + rng.uniform(-augmentation.jitter, augmentation.jitter))
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
