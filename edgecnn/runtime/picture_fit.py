"""How a picture is fitted into a network's input: what it is resized to, and where the input lies in that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from edgecnn.image_size import Size


class Fitted(NamedTuple):
    """A picture that is resized, and where the input's corner lies in it: before it, where it is padded."""

    resized: Size
    top: int
    left: int


@dataclass(frozen=True)
class Fit:
    """A row: from the sizes of a picture and of the input to where both lie."""

    #: (picture, input, share of the input's sides in the resized ones) to a place.
    place: Callable[[Size, Size, float], Fitted]
    #: Whether the share is used, and whether something may be left to pad.
    crops: bool = False
    pads: bool = False


def covering(size: Size, crop: float) -> Size:
    """Return what a picture has to cover before the crop, in whole pixels."""
    return Size(int(size.height / crop), int(size.width / crop))


def _crop(picture: Size, size: Size, crop: float) -> Fitted:
    """Resize until it covers, cut the other side to an integer, crop the centre: torchvision's arithmetic."""
    least = covering(size, crop)
    if least.width * picture.height >= least.height * picture.width:
        resized = Size(int(least.width * picture.height / picture.width), least.width)
    else:
        resized = Size(least.height, int(least.height * picture.width / picture.height))
    return _centred(resized, size)


def _centred(resized: Size, size: Size) -> Fitted:
    return Fitted(resized, round((resized.height - size.height) / 2), round((resized.width - size.width) / 2))


def _crop_paddle(picture: Size, size: Size, crop: float) -> Fitted:
    """Do the same, but round the other side and cut the crop's corner: PaddleClas' arithmetic."""
    least = covering(size, crop)
    scale = max(least.height / picture.height, least.width / picture.width)
    resized = Size(round(picture.height * scale), round(picture.width * scale))
    return Fitted(resized, (resized.height - size.height) // 2, (resized.width - size.width) // 2)


def _stretch(picture: Size, size: Size, crop: float) -> Fitted:
    """Resize both sides as they must be."""
    return Fitted(size, 0, 0)


def _letterbox(picture: Size, size: Size, crop: float) -> Fitted:
    """Resize until it fits in, and put it in the centre; of an odd rest the larger part comes after it.

    The arithmetic of YOLO's `letterbox`.
    """
    scale = min(size.height / picture.height, size.width / picture.width)
    resized = Size(max(1, round(picture.height * scale)), max(1, round(picture.width * scale)))
    return Fitted(
        resized,
        -round((size.height - resized.height) / 2 - 0.1),
        -round((size.width - resized.width) / 2 - 0.1),
    )


def _corner(picture: Size, size: Size, crop: float) -> Fitted:
    """Resize until it fits in, cut to integers, and put it at the upper left: YOLOX' `preproc`."""
    scale = min(size.height / picture.height, size.width / picture.width)
    return Fitted(Size(max(1, int(picture.height * scale)), max(1, int(picture.width * scale))), 0, 0)


#: By name.
FITS = {
    "crop": Fit(_crop, crops=True),
    "crop-paddle": Fit(_crop_paddle, crops=True),
    "stretch": Fit(_stretch),
    "letterbox": Fit(_letterbox, pads=True),
    "letterbox-corner": Fit(_corner, pads=True),
}
