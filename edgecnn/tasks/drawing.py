"""Pictures with what a network found in them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.view import IGNORED

Colour = tuple[int, int, int]
#: Hues lie this far apart, so that those of neighbours differ most: the golden ratio's fraction.
_STEP = 0.618034
#: How much of a region's colour covers the picture.
_COVER = 0.5


def colour(index: int) -> Colour:
    """Return the colour of a class; neighbours differ."""
    hue = (0.02 + index * _STEP) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, (1.0, 0.8)[index // 8 % 2])
    return round(255 * red), round(255 * green), round(255 * blue)


def with_boxes(picture: Image.Image, boxes: Boxes, labels: Sequence[str]) -> Image.Image:
    """Return a picture, in RGB, with a frame around each box, the surest on top, and its class and score."""
    result = picture.convert("RGB")
    draw = ImageDraw.Draw(result)
    font, line = _font(result), max(2, round(min(result.size) / 200))
    for row in reversed(range(len(boxes))):
        shade = colour(int(boxes.classes[row]))
        x0, y0, x1, y1 = (round(float(value)) for value in boxes.corners[row])
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=shade, width=line)
        score = "" if boxes.scores is None else f" {boxes.scores[row]:.0%}"
        _tag(draw, (x0, y0), f"{labels[row]}{score}", shade, font, result.size)
    return result


def with_mask(picture: Image.Image, mask: npt.NDArray[Any], labels: Sequence[str]) -> Image.Image:
    """Return a picture, in RGB, with the colour of each pixel's class over it, and a legend.

    The class that most pixels have is left as it is; `labels` are one for each class.
    """
    found, counts = np.unique(mask[mask != IGNORED], return_counts=True)
    shown = [int(index) for index in found if index != found[counts.argmax()]] if len(found) else []
    pixels = np.asarray(picture.convert("RGB"), np.float32).copy()
    for index in shown:
        inside = mask == index
        pixels[inside] = (1 - _COVER) * pixels[inside] + _COVER * np.array(colour(index), np.float32)
    result = Image.fromarray(pixels.round().astype(np.uint8))
    draw, font = ImageDraw.Draw(result), _font(result)
    height = sum(font.getbbox("Ag")[1::2]) + 4
    for place, index in enumerate(shown):
        _tag(draw, (0, (place + 1) * height), labels[index], colour(index), font, result.size)
    return result


def _font(picture: Image.Image) -> Any:
    return ImageFont.load_default(max(11, round(min(picture.size) / 32)))


def _tag(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    shade: Colour,
    font: Any,
    size: tuple[int, int],
) -> None:
    """Write a text in a field of colour that stands on a corner, within the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = round(right - left) + 6, round(bottom - top) + 6
    x = min(max(0, corner[0]), max(0, size[0] - width))
    y = min(max(0, corner[1] - height), max(0, size[1] - height))
    draw.rectangle((x, y, x + width, y + height), fill=shade)
    light = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2]
    draw.text(
        (x + 3 - left, y + 3 - top), text, fill=(0, 0, 0) if light > 140 else (255, 255, 255), font=font
    )
