"""The ways to resize a picture: Pillow's, which antialias, and OpenCV's bilinear, which does not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecnn.image_size import Size
from edgecnn.runtime.preprocessing import OPENCV

_PILLOW = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}
#: Bits of a weight's fraction, in OpenCV.
_WEIGHT = 11


def resample(interpolation: str) -> Image.Resampling:
    """Return Pillow's filter that is like an interpolation: what augmentation and comparisons resize with."""
    return _PILLOW.get(interpolation, Image.Resampling.BILINEAR)


def resize(picture: Image.Image, size: Size, interpolation: str) -> Image.Image:
    """Return a picture of mode L or RGB in another size."""
    if (picture.height, picture.width) == size:
        return picture
    if interpolation == OPENCV:
        return Image.fromarray(_bilinear(np.asarray(picture), size))
    if vertical_first(Size(picture.height, picture.width), size):
        picture = picture.resize((picture.width, size.height), _PILLOW[interpolation])
    return picture.resize((size.width, size.height), _PILLOW[interpolation])


def vertical_first(given: Size, wanted: Size) -> bool:
    """Return whether the rows become fewer before they become shorter, as in Pillow since version 13.

    Each pass rounds, so that the order is seen in a level here and there; here no version changes it.
    """
    fewer = given.height - wanted.height
    return fewer > 0 and fewer > 2 * (given.width - wanted.width)


def _bilinear(pixels: npt.NDArray[np.uint8], size: Size) -> npt.NDArray[np.uint8]:
    """Resize (H, W) or (H, W, C) as `cv2.resize` does with INTER_LINEAR, level for level.

    Of each pixel the four around its place count, however much smaller the picture becomes.

    Weights have 11 bits, and the sums of a row lose four before they are weighted again. Where both sides are
    halved OpenCV takes the mean of four pixels, with halves up.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (2 * size.height, 2 * size.width):
        wide = pixels.astype(np.uint16)
        four = wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]
        return ((four + 2) >> 2).astype(np.uint8)
    left, right = _neighbours(width, size.width, whole_at_end=True)
    upper, lower = _neighbours(height, size.height, whole_at_end=False)
    beside = (1,) * (pixels.ndim - 2)
    rows = np.zeros((height, size.width, *pixels.shape[2:]), np.int32)
    for index, weight in (left, right):
        rows += pixels[:, index] * weight.reshape(1, -1, *beside)
    rows >>= 4
    total = np.full((size.height, size.width, *pixels.shape[2:]), 2, np.int32)
    for index, weight in (upper, lower):
        total += (rows[index] * weight.reshape(-1, 1, *beside)) >> 16
    return (total >> 2).astype(np.uint8)


_Neighbour = tuple[npt.NDArray[np.intp], npt.NDArray[np.int32]]


def _neighbours(length: int, wanted: int, *, whole_at_end: bool) -> tuple[_Neighbour, _Neighbour]:
    """Return the pixels before and after each place along an axis, and their weights.

    Beyond the ends there is the last pixel again; along a row OpenCV gives it the whole weight.
    """
    scale = 1 / (wanted / length)
    place = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.intp)
    fraction = place - first.astype(np.float32)
    if whole_at_end:
        beyond = (first < 0) | (first >= length - 1)
        fraction[beyond] = 0
    before, after = (
        np.rint(part * np.float32(1 << _WEIGHT)).astype(np.int32) for part in (1 - fraction, fraction)
    )
    last = length - 1
    return (np.clip(first, 0, last), before), (np.clip(first + 1, 0, last), after)
