"""Seeded crops: many different views of a few photographs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.tasks.boxes import overlap

#: The least intersection over union of a crop and an object, one of which is drawn; 1 for the whole picture.
_OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
#: Such overlaps that are drawn, and crops that are tried for each.
_ATTEMPTS = 8


def random_crops(
    photos: Sequence[Image.Image], preprocessing: Preprocessing, count: int, *, seed: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield `count` frames, each (height, width, channels) uint8, taken from the photographs in turn.

    Each covers 20 to 100 % of its photograph's area at a ratio of sides of 3:4 to 4:3, half of them
    mirrored: the crops of Inception's training (Szegedy et al. 2014, section 6) with a larger
    smallest area, so that a crop still shows a thing and not a texture.
    """
    rng = np.random.default_rng(seed)
    for index in range(count):
        photo = photos[index % len(photos)]
        box = random_box(photo.size, (0.2, 1.0), rng)
        view = photo.resize((preprocessing.width, preprocessing.height), Image.Resampling.BILINEAR, box=box)
        frame = prepare.frame_of(preprocessing, view)
        yield frame[:, ::-1] if rng.random() < 0.5 else frame


def random_box(
    size: tuple[int, int], areas: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Return a random (left, top, right, bottom) inside a picture of `size` (width, height), in pixels.

    Its area is between two shares of the picture's, the ratio of its sides between 3:4 and 4:3.
    """
    area = size[0] * size[1] * rng.uniform(*areas)
    ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
    width, height = min(size[0], math.sqrt(area * ratio)), min(size[1], math.sqrt(area / ratio))
    left, top = rng.uniform(0, size[0] - width), rng.uniform(0, size[1] - height)
    return left, top, left + width, top + height


def box_around(
    size: tuple[int, int],
    areas: tuple[float, float],
    corners: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[float, float, float, float]:
    """Return a random box as `random_box` does that shows objects: of one of them the centre, and enough.

    How much its overlap with an object is at least is drawn too; sometimes it is the whole picture. The
    crops of SSD (Liu et al. 2015, section 2.2). `corners` are those of the objects, (n, 4), at least one.
    """
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    for _ in range(_ATTEMPTS):
        least = _OVERLAPS[int(rng.integers(len(_OVERLAPS)))]
        if least == 1:
            break
        for _ in range(_ATTEMPTS):
            box = np.array(random_box(size, areas, rng), np.float32)
            inside = ((centres > box[:2]) & (centres < box[2:])).all(axis=1)
            if inside.any() and overlap(box[None], corners[inside]).max() >= least:
                left, top, right, bottom = map(float, box)
                return left, top, min(right, size[0]), min(bottom, size[1])
    return 0.0, 0.0, float(size[0]), float(size[1])
