"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719): a few random operations of one common strength."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

#: Strengths go from 0 to this, as in the paper's section 3.
STRONGEST = 10

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


def move(
    picture: Image.Image,
    matrix: tuple[float, float, float, float, float, float],
    fill: Fill,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """Return the picture whose point (x, y) shows the old one's (a x + b y + c, d x + e y + f)."""
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)


def _rotate(picture: Image.Image, degrees: float, fill: Fill) -> Image.Image:
    return picture.rotate(degrees, Image.Resampling.BILINEAR, fillcolor=fill)


def _shear_x(picture: Image.Image, amount: float, fill: Fill) -> Image.Image:
    return move(picture, (1, amount, 0, 0, 1, 0), fill)


def _shear_y(picture: Image.Image, amount: float, fill: Fill) -> Image.Image:
    return move(picture, (1, 0, 0, amount, 1, 0), fill)


def _translate_x(picture: Image.Image, share: float, fill: Fill) -> Image.Image:
    shift = round(share * picture.width)
    return move(picture, (1, 0, -shift, 0, 1, 0), fill, Image.Resampling.NEAREST)


def _translate_y(picture: Image.Image, share: float, fill: Fill) -> Image.Image:
    shift = round(share * picture.height)
    return move(picture, (1, 0, 0, 0, 1, -shift), fill, Image.Resampling.NEAREST)


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
    Operation("rotate", _rotate, (0.0, 30.0), signed=True),
    Operation("solarize", _solarize, (256.0, 0.0)),
    Operation("color", _enhance(ImageEnhance.Color), (0.0, 0.9), signed=True),
    Operation("posterize", _posterize, (8.0, 4.0)),
    Operation("contrast", _enhance(ImageEnhance.Contrast), (0.0, 0.9), signed=True),
    Operation("brightness", _enhance(ImageEnhance.Brightness), (0.0, 0.9), signed=True),
    Operation("sharpness", _enhance(ImageEnhance.Sharpness), (0.0, 0.9), signed=True),
    Operation("shear_x", _shear_x, (0.0, 0.3), signed=True),
    Operation("shear_y", _shear_y, (0.0, 0.3), signed=True),
    Operation("translate_x", _translate_x, (0.0, 150 / 331), signed=True),
    Operation("translate_y", _translate_y, (0.0, 150 / 331), signed=True),
)


def randaugment(
    picture: Image.Image, count: int, strength: float, fill: Fill, rng: np.random.Generator
) -> Image.Image:
    """Return a picture, of mode "L" or "RGB", after `count` operations of a strength of 0 to 10."""
    for row in rng.integers(len(OPERATIONS), size=count):
        operation = OPERATIONS[row]
        low, high = operation.amounts
        amount = low + (high - low) * strength / STRONGEST
        if operation.signed and rng.random() < 0.5:
            amount = -amount
        picture = operation.apply(picture, amount, fill)
    return picture
