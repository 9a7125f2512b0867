"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719): a few random operations of one common strength."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from edgecnn.data.framing import Matrix

#: Strengths go from 0 to this, as in the paper's section 3.
STRONGEST = 10

_WHOLE_PIXELS = Image.Resampling.NEAREST
#: The colour of what a moved picture uncovers: one value (grey) or three (RGB), 0..255.
Fill = int | tuple[int, int, int]


@dataclass(frozen=True)
class Operation:
    """One row of the table: `apply(picture, amount, fill)`."""

    name: str
    apply: Callable[[Image.Image, float, Fill], Image.Image]
    #: The amounts at strength 0 and at the strongest.
    amounts: tuple[float, float] = (0.0, 0.0)
    #: Whether half of the amounts are negated.
    signed: bool = False
    #: Of what moves pixels, from the picture's (width, height) and the amount, which show what before.
    matrix: Callable[[tuple[int, int], float], Matrix] | None = None


def move(
    picture: Image.Image, matrix: Matrix, fill: Fill, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> Image.Image:
    """Return the picture whose point (x, y) shows the old one's (a x + b y + c, d x + e y + f)."""
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)


def _moving(
    name: str,
    matrix: Callable[[tuple[int, int], float], Matrix],
    most: float,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> Operation:
    """Return a row that moves pixels by up to an amount, either way."""

    def apply(picture: Image.Image, amount: float, fill: Fill) -> Image.Image:
        return move(picture, matrix(picture.size, amount), fill, resample)

    return Operation(name, apply, (0.0, most), True, matrix)


def _rotate(size: tuple[int, int], degrees: float) -> Matrix:
    """Turn around the centre, against the clock, with Pillow's rounding."""
    angle = math.radians(-degrees)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = size[0] / 2, size[1] / 2
    return cosine, sine, x - cosine * x - sine * y, -sine, cosine, y + sine * x - cosine * y


def _posterize(picture: Image.Image, bits: float, fill: Fill) -> Image.Image:
    return ImageOps.posterize(picture, round(bits))


def _solarize(picture: Image.Image, threshold: float, fill: Fill) -> Image.Image:
    return ImageOps.solarize(picture, math.ceil(threshold))


class _Enhancer(Protocol):
    def enhance(self, factor: float, /) -> Image.Image: ...


def _enhance(kind: Callable[[Image.Image], _Enhancer]) -> Callable[..., Image.Image]:
    return lambda picture, amount, fill: kind(picture).enhance(1 + amount)


#: The paper's list (figure 2) with the ranges of AutoAugment (Cubuk et al. 2018, table 6), whose pictures
#: have 331 pixels. Shifts are shares of the size; solarizing inverts values from its threshold on.
OPERATIONS = (
    Operation("identity", lambda picture, amount, fill: picture),
    Operation("autocontrast", lambda picture, amount, fill: ImageOps.autocontrast(picture)),
    Operation("equalize", lambda picture, amount, fill: ImageOps.equalize(picture)),
    _moving("rotate", _rotate, 30.0),
    Operation("solarize", _solarize, (256.0, 0.0)),
    Operation("color", _enhance(ImageEnhance.Color), (0.0, 0.9), signed=True),
    Operation("posterize", _posterize, (8.0, 4.0)),
    Operation("contrast", _enhance(ImageEnhance.Contrast), (0.0, 0.9), signed=True),
    Operation("brightness", _enhance(ImageEnhance.Brightness), (0.0, 0.9), signed=True),
    Operation("sharpness", _enhance(ImageEnhance.Sharpness), (0.0, 0.9), signed=True),
    _moving("shear_x", lambda size, amount: (1, amount, 0, 0, 1, 0), 0.3),
    _moving("shear_y", lambda size, amount: (1, 0, 0, amount, 1, 0), 0.3),
    _moving(
        "translate_x", lambda size, share: (1, 0, -round(share * size[0]), 0, 1, 0), 150 / 331, _WHOLE_PIXELS
    ),
    _moving(
        "translate_y", lambda size, share: (1, 0, 0, 0, 1, -round(share * size[1])), 150 / 331, _WHOLE_PIXELS
    ),
)


def randaugment(
    picture: Image.Image, count: int, strength: float, fill: Fill, rng: np.random.Generator
) -> tuple[Image.Image, list[Matrix]]:
    """Return a picture, of mode "L" or "RGB", after `count` operations of a strength of 0 to 10.

    And what those that moved pixels did, in their order.
    """
    matrices = []
    for row in rng.integers(len(OPERATIONS), size=count):
        operation = OPERATIONS[row]
        low, high = operation.amounts
        amount = low + (high - low) * strength / STRONGEST
        if operation.signed and rng.random() < 0.5:
            amount = -amount
        if operation.matrix is not None:
            matrices.append(operation.matrix(picture.size, amount))
        picture = operation.apply(picture, amount, fill)
    return picture, matrices
