"""Random changes of training images that leave what they show what it is; labels move along."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from edgecnn.data.augmentations import Augmentation
from edgecnn.data.crops import box_around, random_box
from edgecnn.data.framing import Framing, Matrix
from edgecnn.data.randaugment import Fill, move, randaugment
from edgecnn.image_size import Size
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import ImageLike, open_image
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.resampling import resample

#: Attempts to place an erased rectangle inside the picture.
_ATTEMPTS = 10


@dataclass(frozen=True)
class Prepared:
    """A picture as far as it is the same each time, and where it comes from."""

    picture: Image.Image
    framing: Framing


def prepared(augmentation: Augmentation, image: ImageLike, preprocessing: Preprocessing) -> Prepared:
    """Return the part of the work that is the same each time: decoding, and resizing as far as it goes.

    Images of which crops are taken keep a shorter side with which the smallest crop fills the input.
    Raises DataError for an image that cannot be read.
    """
    opened = open_image(image)
    size = Size(opened.height, opened.width)
    if augmentation.crop is None:
        fitted = prepare.picture(preprocessing, opened)
        return Prepared(fitted, Framing.of(prepare.view(preprocessing, size)))
    picture = prepare.colour(preprocessing, opened)
    largest = math.ceil(max(preprocessing.size) / math.sqrt(augmentation.crop[0]))
    if min(picture.size) > largest:
        scale = largest / min(picture.size)
        picture = picture.resize(
            (round(scale * picture.width), round(scale * picture.height)),
            resample(preprocessing.interpolation),
        )
    return Prepared(picture, Framing.whole(size, Size(picture.height, picture.width)))


def applied(
    augmentation: Augmentation,
    source: Prepared,
    preprocessing: Preprocessing,
    rng: np.random.Generator,
    corners: npt.NDArray[np.float32] | None = None,
) -> tuple[npt.NDArray[np.uint8], Framing]:
    """Return a random frame (H, W, C) uint8 of what `prepared` returned, and where its pixels come from.

    `rng` decides everything. Where `corners`, (n, 4) in pixels of the picture as it was opened, are given,
    crops show some of these objects.
    """
    picture, framing = source.picture, source.framing
    if augmentation.crop is not None:
        picture, framing = _cropped(augmentation, source, preprocessing, rng, corners)
    if augmentation.flip and rng.random() < 0.5:
        picture, framing = ImageOps.mirror(picture), framing.then((-1, 0, picture.width, 0, 1, 0))
    if augmentation.shift or augmentation.rotate or augmentation.zoom:
        matrix, resampling = _movement(augmentation, picture.size, rng)
        picture = move(picture, matrix, _fill(augmentation, preprocessing), resampling)
        framing = framing.then(matrix)
    if augmentation.jitter:
        picture = _jittered(augmentation, picture, rng)
    if augmentation.randaugment is not None:
        fill = _fill(augmentation, preprocessing)
        picture, matrices = randaugment(picture, *augmentation.randaugment, fill, rng)
        for matrix in matrices:
            framing = framing.then(matrix)
    frame = prepare.frame_of(preprocessing, picture)
    if augmentation.erase and rng.random() < augmentation.erase:
        frame, erased = _erased(frame, rng)
        framing = replace(framing, erased=erased)
    return frame, framing


def _cropped(
    augmentation: Augmentation,
    source: Prepared,
    preprocessing: Preprocessing,
    rng: np.random.Generator,
    corners: npt.NDArray[np.float32] | None,
) -> tuple[Image.Image, Framing]:
    """Return a crop of a picture, or the picture on a larger canvas, at the input's size."""
    assert augmentation.crop is not None
    picture, size = source.picture, preprocessing.size
    if augmentation.expand > 1 and rng.random() < 0.5:
        return _on_canvas(augmentation, source, preprocessing, rng)
    if corners is None:
        box = random_box(picture.size, augmentation.crop, rng)
    else:
        x, _, _, _, y, _ = source.framing.matrix
        shrunk = np.divide(corners, (x, y, x, y)).astype(np.float32)
        box = box_around(picture.size, augmentation.crop, shrunk, rng)
    left, top, right, bottom = box
    picture = picture.resize((size.width, size.height), resample(preprocessing.interpolation), box=box)
    matrix = ((right - left) / size.width, 0, left, 0, (bottom - top) / size.height, top)
    return picture, source.framing.then(matrix, size)


def _on_canvas(
    augmentation: Augmentation, source: Prepared, preprocessing: Preprocessing, rng: np.random.Generator
) -> tuple[Image.Image, Framing]:
    picture, size = source.picture, preprocessing.size
    share = 1 / rng.uniform(1, augmentation.expand)
    wide, high = max(1, round(share * size.width)), max(1, round(share * size.height))
    left, top = (int(rng.integers(0, room + 1)) for room in (size.width - wide, size.height - high))
    canvas = Image.new(picture.mode, (size.width, size.height), _fill(augmentation, preprocessing))
    canvas.paste(picture.resize((wide, high), resample(preprocessing.interpolation)), (left, top))
    x, y = picture.width / wide, picture.height / high
    return canvas, source.framing.then((x, 0, -left * x, 0, y, -top * y), size)


def augmented(
    augmentation: Augmentation, image: ImageLike, preprocessing: Preprocessing, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return a random view of an image, (H, W, C) uint8; raises DataError if it cannot be read."""
    return applied(augmentation, prepared(augmentation, image, preprocessing), preprocessing, rng)[0]


def _fill(augmentation: Augmentation, preprocessing: Preprocessing) -> Fill:
    grey = preprocessing.color == "grey"
    if augmentation.fill is not None:
        return augmentation.fill if grey else (augmentation.fill,) * 3
    levels = [min(255, max(0, round(255 // preprocessing.pixels * mean))) for mean in preprocessing.mean]
    if grey:
        return levels[0]
    one, two, three = itertools.islice(itertools.cycle(levels), 3)
    return (three, two, one) if preprocessing.color == "bgr" else (one, two, three)


def _movement(
    augmentation: Augmentation, size: tuple[int, int], rng: np.random.Generator
) -> tuple[Matrix, Image.Resampling]:
    """Return what shifts, turns and zooms a picture of (width, height), and how it is resampled."""
    limits = np.rint(np.multiply(size, augmentation.shift)).astype(int)
    right, down = rng.integers(-limits, limits + 1).tolist()
    if not augmentation.rotate and not augmentation.zoom:
        return (1, 0, -right, 0, 1, -down), Image.Resampling.NEAREST
    turn, grow = rng.uniform(-1, 1, 2).tolist()
    angle, scale = math.radians(turn * augmentation.rotate), 1 + grow * augmentation.zoom
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    # The centre of the picture stays where the shift puts it.
    x, y = size[0] / 2, size[1] / 2
    across = x - cosine * (x + right) - sine * (y + down)
    along = y + sine * (x + right) - cosine * (y + down)
    return (cosine, sine, across, -sine, cosine, along), Image.Resampling.BILINEAR


def _jittered(augmentation: Augmentation, picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for row in rng.permutation(len(kinds)):
        picture = kinds[row](picture).enhance(1 + rng.uniform(-augmentation.jitter, augmentation.jitter))
    return picture


def _erased(
    frame: npt.NDArray[np.uint8], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int] | None]:
    """Fill a rectangle of 2 to 40 % of the area, with sides as 0.3 to 1/0.3, with noise; return where."""
    high, wide = frame.shape[:2]
    for _ in range(_ATTEMPTS):
        area, ratio = rng.uniform(0.02, 0.4) * high * wide, rng.uniform(0.3, 1 / 0.3)
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < height < high and 0 < width < wide:
            top, left = int(rng.integers(0, high - height)), int(rng.integers(0, wide - width))
            frame = frame.copy()
            noise = rng.integers(0, 256, (height, width, frame.shape[2]), np.uint8)
            frame[top : top + height, left : left + width] = noise
            return frame, (left, top, left + width, top + height)
    return frame, None
