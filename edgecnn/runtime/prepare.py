"""From an image to a network's input, as a `Preprocessing` says: first a frame of pixels, then numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecnn.image_size import Size
from edgecnn.runtime.image_files import ImageLike, open_image
from edgecnn.runtime.image_limits import pixel_limit, too_large
from edgecnn.runtime.picture_fit import FITS, Fitted
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.resampling import resize
from edgecnn.tasks.view import View


def frame(preprocessing: Preprocessing, image: ImageLike) -> npt.NDArray[np.uint8]:
    """Return the fitted image: shape (height, width, channels), uint8, not normalised."""
    return frame_of(preprocessing, picture(preprocessing, image))


def picture(preprocessing: Preprocessing, image: ImageLike) -> Image.Image:
    """Return an image fitted into the input's size, grey or in RGB, as people see it.

    Raises DataError for an image that cannot be read, or that fitting would make too large.
    """
    opened, size, fit = open_image(image), preprocessing.size, FITS[preprocessing.fit]
    fitted = _fitted(preprocessing, Size(opened.height, opened.width))
    if fitted.resized.pixels > pixel_limit():
        raise too_large(
            "the image",
            f"{opened.width} x {opened.height}, enlarged to {fitted.resized.width} x {fitted.resized.height}",
        )
    resized = resize(colour(preprocessing, opened), fitted.resized, preprocessing.interpolation)
    if fitted.resized == size:
        return resized
    if fit.pads:
        canvas = Image.new(preprocessing.bands, (size.width, size.height), _padding(preprocessing))
        canvas.paste(resized, (-fitted.left, -fitted.top))
        return canvas
    left, top = fitted.left, fitted.top
    return resized.crop((left, top, left + size.width, top + size.height))


def view(preprocessing: Preprocessing, picture: Size) -> View:
    """Return where a picture of a size, as `open_image` gives it, lies in the input."""
    fitted = _fitted(preprocessing, picture)
    scale = (fitted.resized.width / picture.width, fitted.resized.height / picture.height)
    return View(picture, preprocessing.size, scale, (-float(fitted.left), -float(fitted.top)))


def _fitted(preprocessing: Preprocessing, picture: Size) -> Fitted:
    return FITS[preprocessing.fit].place(picture, preprocessing.size, preprocessing.crop)


def _padding(preprocessing: Preprocessing) -> int | tuple[int, ...]:
    """Return the colour of the padding, as Pillow takes it."""
    pad = preprocessing.pad
    if preprocessing.bands == "L":
        return pad[0]
    levels = pad * 3 if len(pad) == 1 else pad
    return levels[::-1] if preprocessing.color == "bgr" else levels


def frame_of(preprocessing: Preprocessing, picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the pixels of a picture that already has the right size: (height, width, channels) uint8."""
    pixels = np.asarray(colour(preprocessing, picture))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif preprocessing.color == "bgr":
        pixels = pixels[:, :, ::-1]
    if pixels.shape[2] != preprocessing.channels:
        pixels = pixels[:, :, np.arange(preprocessing.channels) % pixels.shape[2]]
    return pixels


def colour(preprocessing: Preprocessing, picture: Image.Image) -> Image.Image:
    """Return a picture grey or in RGB: the mode in which it is fitted."""
    return picture if picture.mode == preprocessing.bands else picture.convert(preprocessing.bands)


def normalize(preprocessing: Preprocessing, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Turn frames, (N, H, W, C) uint8, into a network's input, (N, C, H, W) float32."""
    scale, offset = affine(preprocessing)
    out = np.empty((frames.shape[0], frames.shape[3], *frames.shape[1:3]), np.float32)
    np.multiply(frames.transpose(0, 3, 1, 2), scale[:, None, None], out=out, casting="unsafe")
    out += offset[:, None, None]
    return out


def affine(preprocessing: Preprocessing) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return per-channel scale and offset: input = pixel * scale + offset, with pixels in 0..255."""
    mean = np.asarray(preprocessing.mean, np.float64)
    std = np.asarray(preprocessing.std, np.float64)
    unit = 255 // preprocessing.pixels
    return (1 / (unit * std)).astype(np.float32), (-mean / std).astype(np.float32)


def batch(preprocessing: Preprocessing, images: Iterable[ImageLike]) -> npt.NDArray[np.float32]:
    """Return images as one network input, (N, C, H, W) float32."""
    return normalize(preprocessing, np.stack([frame(preprocessing, image) for image in images]))
