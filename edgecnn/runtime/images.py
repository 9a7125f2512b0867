"""From an image to a network's input: the one definition that training, calibration and the runtime share."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from edgecnn.errors import ArtifactError, DataError, InvalidValueError, UnknownNameError
from edgecnn.registry import suggest

#: What `open_image` takes: a path, the bytes of a file, a PIL image, or an array of shape (H, W) or
#: (H, W, 3) with dtype uint8 (RGB).
ImageLike = str | Path | bytes | Image.Image | npt.NDArray[np.uint8]

#: A larger picture is refused: a few kilobytes of PNG can hold gigabytes of pixels.
MAX_PIXELS = 100_000_000

#: File name endings that folders of images are searched for.
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})

#: EXIF's tag for how a camera was held.
_ORIENTATION = 0x0112

#: Channels that an image may have.
_MOST_CHANNELS = 1024

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize the shorter side, crop the centre, scale to 0..1, subtract `mean`, divide by `std`.

    The resizing is Pillow's with antialiasing, which is what torchvision does to a PIL image.
    """

    #: Height and width of the crop, in pixels.
    size: int = 224
    #: Share of the shorter side that the crop keeps: 224 / 256 for most ImageNet networks.
    crop: float = 0.875
    #: "bilinear", "bicubic" or "nearest".
    interpolation: str = "bilinear"
    #: Per channel, in units of full scale (0..1). One value means a grey image.
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        """Raise UnknownNameError or InvalidValueError for values that no image can be prepared with."""
        if self.interpolation not in _FILTERS:
            raise UnknownNameError(
                f"unknown interpolation {self.interpolation!r}", hint=suggest(self.interpolation, [*_FILTERS])
            )
        if self.size < 1 or self.crop <= 0 or self.resize < 1:
            raise InvalidValueError(
                f"no image can be cut to size {self.size}, crop {self.crop}", hint="both are above 0"
            )
        if max(len(self.mean), len(self.std)) > _MOST_CHANNELS:
            raise InvalidValueError(
                f"{len(self.mean)} means and {len(self.std)} deviations normalize no image",
                hint="give one of each for each channel",
            )
        if (
            not 0 < len(self.mean) == len(self.std)
            or 0 in self.std
            or not np.isfinite(self.mean + self.std).all()
        ):
            raise InvalidValueError(
                f"mean {self.mean} and std {self.std} normalize no image",
                hint="give one of each for each channel, and no deviation of 0",
            )

    @property
    def channels(self) -> int:
        """Number of channels: 3 for RGB, 1 for grey."""
        return len(self.mean)

    @property
    def resize(self) -> int:
        """Length of the shorter side after resizing, in pixels."""
        return int(self.size / self.crop)

    @property
    def resample(self) -> Image.Resampling:
        """Pillow's filter for `interpolation`."""
        return _FILTERS[self.interpolation]

    def at(self, size: int) -> Preprocessing:
        """Return the same preprocessing for another input size."""
        return dataclasses.replace(self, size=size)

    def with_channels(self, channels: int) -> Preprocessing:
        """Return the same preprocessing for 1 (grey) or more channels; means and deviations are cycled."""
        if channels == self.channels:
            return self
        if channels == 1:
            return dataclasses.replace(
                self, mean=(float(np.mean(self.mean)),), std=(float(np.mean(self.std)),)
            )
        cycle = [index % self.channels for index in range(channels)]
        return dataclasses.replace(
            self, mean=tuple(self.mean[i] for i in cycle), std=tuple(self.std[i] for i in cycle)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, as they stand in a manifest."""
        return {**dataclasses.asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what `to_json` wrote; fields of a later version are ignored. Raises ArtifactError."""
        known = {item.name for item in dataclasses.fields(cls)}
        try:
            fields = {key: value for key, value in values.items() if key in known}
            mean, std = (tuple(map(float, values[key])) for key in ("mean", "std"))
            return cls(**{**fields, "mean": mean, "std": std})
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArtifactError(
                f"the manifest's preprocessing is damaged: {type(error).__name__}: {str(error)[:200]}",
                hint="export the model again",
            ) from error

    def frame(self, image: ImageLike) -> npt.NDArray[np.uint8]:
        """Return the resized and cropped image: shape (size, size, channels), uint8, not normalised."""
        picture = open_image(image)
        width, height = picture.size
        short, long = sorted((width, height))
        scaled = (self.resize, int(self.resize * long / short))
        wanted = scaled if width <= height else scaled[::-1]
        if wanted[0] * wanted[1] > MAX_PIXELS:
            raise _too_large("the image", f"{width} x {height}, enlarged to {wanted[0]} x {wanted[1]}")
        picture = self._colour(picture)
        if wanted != picture.size:
            picture = picture.resize(wanted, self.resample)
        left, top = round((wanted[0] - self.size) / 2), round((wanted[1] - self.size) / 2)
        return self.frame_of(picture.crop((left, top, left + self.size, top + self.size)))

    def frame_of(self, picture: Image.Image) -> npt.NDArray[np.uint8]:
        """Return the pixels of a picture that already has the right size: (size, size, channels) uint8."""
        pixels = np.asarray(self._colour(picture))
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if pixels.shape[2] != self.channels:
            pixels = pixels[:, :, np.arange(self.channels) % pixels.shape[2]]
        return pixels

    def _colour(self, picture: Image.Image) -> Image.Image:
        mode = "L" if self.channels == 1 else "RGB"
        return picture if picture.mode == mode else picture.convert(mode)

    def normalize(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Turn frames, (N, H, W, C) uint8, into a network's input, (N, C, H, W) float32."""
        scale, offset = self.affine()
        out = np.empty((frames.shape[0], frames.shape[3], *frames.shape[1:3]), np.float32)
        np.multiply(frames.transpose(0, 3, 1, 2), scale[:, None, None], out=out, casting="unsafe")
        out += offset[:, None, None]
        return out

    def affine(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return per-channel scale and offset: input = pixel * scale + offset, with pixels in 0..255."""
        mean, std = np.asarray(self.mean, np.float64), np.asarray(self.std, np.float64)
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)

    def batch(self, images: Iterable[ImageLike]) -> npt.NDArray[np.float32]:
        """Return images as one network input, (N, C, H, W) float32."""
        return self.normalize(np.stack([self.frame(image) for image in images]))


def open_image(image: ImageLike) -> Image.Image:
    """Return a PIL image, decoded and turned upright; raises DataError if it is none or is absurdly large."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
            raise DataError(
                f"an image array of shape {image.shape} and type {image.dtype} cannot be read",
                hint="give uint8 of shape (height, width, 3), channels in RGB order, or (height, width)",
            )
        return _not_empty(Image.fromarray(image), "the image")
    if not isinstance(image, (str, Path, bytes, Image.Image)):
        raise DataError(
            f"an object of type {type(image).__name__} is no image",
            hint="give a path, the bytes of a file, a PIL image or an array; of several, a list",
        )
    name = str(image) if isinstance(image, (str, Path)) else "the image"
    try:
        picture = image if isinstance(image, Image.Image) else _opened(image, name)
        picture.load()  # one that the caller opened need not be decoded yet
        return without_palette_alpha(_eight_bits(_upright(_not_empty(picture, name)), name))
    except Image.DecompressionBombError as error:
        raise _too_large(name, "a decompression bomb") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is not an image", hint="give a JPEG, PNG, BMP, WebP or TIFF file") from error
    except FileNotFoundError as error:
        raise DataError(f"{name} is not there", hint="check the path") from error
    except IsADirectoryError as error:
        raise DataError(f"{name} is a folder, not an image", hint="name a file in it") from error
    except PermissionError as error:
        raise DataError(f"{name} cannot be read: permission denied", hint="check who may read it") from error
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds for some damaged file
        raise DataError(
            f"{name} is a damaged image: {' '.join(str(error).split())}", hint="copy it again or leave it out"
        ) from error


def _opened(image: str | Path | bytes, name: str) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns at a size of its own choosing; the limit here is ours, and an error.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        picture = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
    if picture.width * picture.height > MAX_PIXELS:
        raise _too_large(name, f"{picture.width} x {picture.height} pixels")
    return picture


def _not_empty(picture: Image.Image, name: str) -> Image.Image:
    if not picture.width or not picture.height:
        raise DataError(f"{name} is empty: {picture.width} x {picture.height} pixels", hint="leave it out")
    return picture


def _upright(picture: Image.Image) -> Image.Image:
    # Asked first, as turning copies even what stands upright.
    return ImageOps.exif_transpose(picture) if picture.getexif().get(_ORIENTATION, 1) != 1 else picture


def without_palette_alpha(picture: Image.Image) -> Image.Image:
    """Return a picture whose palette has transparency as RGBA, any other as it is.

    Pillow converts such a palette to RGB or grey with the same pixels, but with a warning for every picture.
    """
    if picture.mode == "P" and isinstance(picture.info.get("transparency"), bytes):
        return picture.convert("RGBA")
    return picture


def _eight_bits(picture: Image.Image, name: str) -> Image.Image:
    # Pillow's own conversion of deeper pictures cuts every value above 255 to white.
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise DataError(
            f"{name} has 32 bits per pixel, whose range is not known", hint="save it with 8 or 16 bits"
        )
    return picture


def sample_photo() -> Image.Image:
    """Return a small photograph, a cup of espresso, that is part of the package.

    By Rachel Michetti, who gave it to the public domain; taken from scikit-image's collection.
    """
    return open_image((resources.files("edgecnn.runtime") / "espresso.jpg").read_bytes())


def _too_large(name: str, what: str) -> DataError:
    return DataError(
        f"{name} is too large to decode: {what}",
        hint=f"at most {MAX_PIXELS // 1_000_000} million pixels; scale it down first",
    )


def find_images(folder: str | Path) -> list[Path]:
    """Return the image files below a folder, sorted; raises DataError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        what = "a file, not a folder of images" if folder.exists() else "not there"
        raise DataError(f"{folder} is {what}", hint="give a folder of images")
    try:
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or folder}: {error.strerror}") from error
    if not files:
        raise DataError(f"{folder} holds no images", hint="JPEG, PNG, BMP, WebP, TIFF, PPM and GIF are read")
    return files
