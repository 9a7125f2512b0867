"""From an image to a network's input: the one definition that training, calibration and the runtime share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecnn.errors import ArtifactError, InvalidValueError, UnknownNameError
from edgecnn.registry import suggest
from edgecnn.runtime.image_files import ImageLike, open_image
from edgecnn.runtime.image_limits import pixel_limit, too_large

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

    Before that `open_image` decodes, turns upright and composes what is transparent on white.
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
        if not isinstance(self.size, int) or self.size < 1 or self.crop <= 0 or self.resize < 1:
            raise InvalidValueError(
                f"no image can be cut to size {self.size}, crop {self.crop}",
                hint="both are above 0, and the size is a whole number of pixels",
            )
        if self.resize**2 > pixel_limit():
            raise InvalidValueError(
                f"images of {self.resize} x {self.resize} pixels are too large to prepare",
                hint=f"at most {pixel_limit():,} pixels; EDGECNN_MAX_PIXELS sets another limit",
            )
        if max(len(self.mean), len(self.std)) > _MOST_CHANNELS:
            raise InvalidValueError(
                f"no image has {max(len(self.mean), len(self.std))} input channels, and as many means",
                hint=f"1 to {_MOST_CHANNELS:,}",
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

    @classmethod
    def said(cls, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Preprocessing | None:
        """Return what a mean and a deviation for each channel say; None where neither is given.

        Raises InvalidValueError.
        """
        if mean is None and std is None:
            return None
        try:
            if min(std or (1.0,)) <= 0:
                raise InvalidValueError("a deviation is not above zero")
            return cls(mean=mean or (0.0,) * len(std or ()), std=std or (1.0,) * len(mean or ()))
        except InvalidValueError as error:
            raise InvalidValueError(
                f"a mean of {mean or 0} and a deviation of {std or 1} prepare no image",
                hint="as many finite numbers each, with commas between, and deviations above zero",
            ) from error

    def demand_input(self, shape: Sequence[int | str], layout: str, name: str) -> None:
        """Raise ArtifactError for an input, (N, channels, height, width) or NHWC, that takes other images."""
        side = (self.size, self.size)
        made = (*side, self.channels) if layout == "NHWC" else (self.channels, *side)
        taken = shape[1:]
        if len(taken) == len(made) and not any(
            isinstance(size, int) and size != own for size, own in zip(taken, made, strict=True)
        ):
            return
        raise ArtifactError(
            f"{name} takes images of {' x '.join(map(str, taken))}, but its manifest prepares them as"
            f" {' x '.join(map(str, made))}",
            hint="its graph or its manifest was changed: export the network again",
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
        if wanted[0] * wanted[1] > pixel_limit():
            raise too_large("the image", f"{width} x {height}, enlarged to {wanted[0]} x {wanted[1]}")
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
