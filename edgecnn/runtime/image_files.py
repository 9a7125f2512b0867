"""From a file, or whatever else holds a picture, to its pixels: the one place where images are opened.

What is opened may come from a stranger. Only the formats of `FORMATS` are: Pillow knows others, and hands
one of them, PostScript, to a program that runs it. What is claimed is compared with limits before any of it
is decoded.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence, UnidentifiedImageError

from edgecnn.errors import DataError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.runtime.image_limits import (
    MAX_BYTES,
    demand_limits,
    demand_tags,
    opened,
    pixel_limit,
    too_large,
)

#: What `open_image` takes: a path, the bytes of a file, a PIL image, or an array of shape (H, W) or
#: (H, W, 3) with dtype uint8 (RGB).
ImageLike = str | Path | bytes | Image.Image | npt.NDArray[np.uint8]

#: Pillow's names of the formats that are opened, whatever a file is called.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
#: The same for people.
FORMATS_TEXT = "JPEG, PNG, BMP, WebP, TIFF, PPM and GIF"

#: Transparent pixels are composed on white: the colours that they hide were never meant to be seen.
BACKGROUND = 255

#: EXIF's tag for how a camera was held, what undoes each of its values, and where a picture may have it.
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: Of those, the ones whose picture is turned by a quarter.
_LYING = (5, 6, 7, 8)
_SAYING_HOW_HELD = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


def open_image(image: ImageLike, max_pixels: int | None = None) -> Image.Image:
    """Return a PIL image: decoded, upright, eight bits for each channel, and without transparency.

    What is transparent is composed on white. `max_pixels` is the limit on width times height (`pixel_limit`
    unless given). Raises DataError if it is no image or breaks a limit.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
            raise DataError(
                f"an image array of shape {image.shape} and type {image.dtype} cannot be read",
                hint="give uint8 of shape (height, width, 3), channels in RGB order, or (height, width)",
            )
        return _not_empty(Image.fromarray(image), "the image")
    name = _name(image)
    with _translated(name):
        picture = _decoded(image, name, max_pixels or pixel_limit())
        return _opaque(_eight_bits(_upright(_not_empty(picture, name), name), name))


def open_unprepared(image: ImageLike) -> Image.Image:
    """Return a PIL image with the pixels of its file: neither turned nor composed. Raises as `open_image`."""
    if isinstance(image, np.ndarray):
        return open_image(image)
    name = _name(image)
    with _translated(name):
        return _decoded(image, name, pixel_limit())


def open_frames(path: str | Path) -> Iterator[tuple[Image.Image, float]]:
    """Yield the pictures of an animation, each as `open_image` returns it, and how long it shows, in seconds.

    Raises as `open_image` does.
    """
    name = str(path)
    with _translated(name), opened(path, name) as stream:
        animation = _identified(stream, name, pixel_limit())
        for picture in ImageSequence.Iterator(animation):
            stream.reads = 0
            frame = _opaque(_eight_bits(picture.copy(), name))
            yield frame, picture.info.get("duration", 0) / 1000  # milliseconds, known of a decoded frame


def read_header(image: ImageLike) -> Image.Image:
    """Return a PIL image of which only the header was read, and nothing can be: its size, mode and format.

    Raises as `open_image` does.
    """
    if isinstance(image, np.ndarray):
        return open_image(image)
    if isinstance(image, Image.Image):
        return image
    name = _name(image)
    with _translated(name), opened(image, name) as stream:
        return _identified(stream, name, pixel_limit())


def read_size(image: ImageLike) -> Size:
    """Return the size of the picture that `open_image` gives, by the header alone. Raises as that does."""
    header = read_header(image)
    # Pillow decodes a PNG file to see whether something is said at its end; nobody writes it there.
    silent = isinstance(image, np.ndarray) or (header.format == "PNG" and "exif" not in header.info)
    with _translated("the image" if silent else _name(image)):
        turned = not silent and _orientation(header, "the image") in _LYING
    return Size(header.width, header.height) if turned else Size(header.height, header.width)


def read_file(path: str | Path) -> bytes:
    """Return the bytes of an image's file; raises DataError for what is no file, or larger than an image."""
    with _translated(str(path)), opened(path, str(path)) as stream:
        return stream.read(MAX_BYTES)  # some files of the system are endless


def sample_photo() -> Image.Image:
    """Return a small photograph, a cup of espresso, that is part of the package.

    By Rachel Michetti, who gave it to the public domain; taken from scikit-image's collection.
    """
    return open_image((resources.files("edgecnn.runtime") / "espresso.jpg").read_bytes())


def _identified(stream: IO[bytes], name: str, limit: int) -> Image.Image:
    """Return the picture of a stream, nothing of which is decoded yet, if it is within the limits."""
    with warnings.catch_warnings():
        # Pillow warns at a size of its own choosing; the limit here is ours, and an error.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        demand_tags(stream, name)
        stream.seek(0)
        picture = Image.open(stream, formats=FORMATS)
    demand_limits(picture, stream, name, limit)
    return picture


def _decoded(image: str | Path | bytes | Image.Image, name: str, limit: int) -> Image.Image:
    if not isinstance(image, Image.Image):
        with opened(image, name) as stream:
            picture = _identified(stream, name, limit)
            picture.load()
            return picture
    if getattr(image, "tile", None):  # opened by the caller, not yet decoded
        if image.format not in (*FORMATS, "MPO"):
            raise DataError(
                f"{name} is of the format {image.format}, which is not opened",
                hint=f"{FORMATS_TEXT} are; a picture whose maker you trust may be decoded with load() before",
            )
        demand_limits(image, getattr(image, "fp", None), name, limit)
    image.load()
    return image


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn whatever reading an image raises into a DataError."""
    try:
        yield
    except (DataError, InvalidValueError):
        raise
    except Image.DecompressionBombError as error:
        raise too_large(name, "a decompression bomb") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not an image", hint=f"{FORMATS_TEXT} are read") from error
    except FileNotFoundError as error:
        raise DataError(f"{name} is not there", hint="check the path") from error
    except PermissionError as error:
        raise DataError(f"{name} cannot be read: permission denied", hint="check who may read it") from error
    except Exception as error:  # Pillow's decoders raise a dozen kinds for some damaged file
        raise DataError(
            f"{name} is a damaged image: {' '.join(str(error).split())}", hint="copy it again or leave it out"
        ) from error


def _name(image: Any) -> str:
    if not isinstance(image, (str, Path, bytes, Image.Image)):
        raise DataError(
            f"an object of type {type(image).__name__} is no image",
            hint="give a path, the bytes of a file, a PIL image or an array; of several, a list",
        )
    return str(image) if isinstance(image, (str, Path)) else "the image"


def _not_empty(picture: Image.Image, name: str) -> Image.Image:
    if not picture.width or not picture.height:
        raise DataError(f"{name} is empty: {picture.width} x {picture.height} pixels", hint="leave it out")
    return picture


def _upright(picture: Image.Image, name: str) -> Image.Image:
    """Return a picture as it was held; one that stands upright is returned as it is."""
    turn = _TURNS.get(_orientation(picture, name))
    if turn is None:
        return picture
    turned = picture.transpose(turn)
    # Or it would be turned again where it is opened again.
    turned.info = {key: value for key, value in turned.info.items() if key not in _SAYING_HOW_HELD}
    return turned


def _orientation(picture: Image.Image, name: str) -> int:
    """Return how a camera was held, 1 to 8."""
    known = picture.info.get("exif")
    if known is None and (text := picture.info.get("Raw profile type exif")):
        known = bytes.fromhex("".join(text.split("\n")[3:]))
    if isinstance(known, bytes):
        demand_tags(io.BytesIO(known.removeprefix(b"Exif\0\0")), name)
    value = picture.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def _eight_bits(picture: Image.Image, name: str) -> Image.Image:
    # Pillow's own conversion of deeper pictures cuts every value above 255 to white.
    if picture.mode.startswith("I;16"):
        deep = np.asarray(picture)
        pixels = (deep >> 8).astype(np.uint8)
        if isinstance(clear := picture.info.get("transparency"), int):
            pixels[deep == clear] = BACKGROUND
        return Image.fromarray(pixels)
    if picture.mode in ("I", "F"):
        raise DataError(
            f"{name} has 32 bits per pixel, whose range is not known", hint="save it with 8 or 16 bits"
        )
    return picture


def _opaque(picture: Image.Image) -> Image.Image:
    """Return a picture composed on the background; one without transparency is returned as it is.

    A channel of value c and opacity a, both 0..255, becomes (a c + (255 - a) 255) / 255, rounded.
    """
    clear = picture.info.get("transparency") if picture.mode in ("1", "L", "P", "RGB") else None
    if clear is None and picture.mode not in ("LA", "La", "PA", "RGBA", "RGBa"):
        return picture
    if isinstance(clear, tuple) and max(clear) > 255:  # of a file with 16 bits, which Pillow cuts to 8
        picture = picture.copy()
        picture.info["transparency"] = tuple(value >> 8 for value in clear)
    grey = picture.mode in ("1", "L", "LA", "La")
    clear_picture = picture.convert("LA" if grey else "RGBA")
    composed = Image.new("L" if grey else "RGB", picture.size, BACKGROUND if grey else (BACKGROUND,) * 3)
    composed.paste(clear_picture, mask=clear_picture.getchannel("A"))
    return composed
