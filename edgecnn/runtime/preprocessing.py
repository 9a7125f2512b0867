"""How images become a network's input, as data: training, calibration and the runtime share this definition.

`prepare` does what it says.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecnn.errors import ArtifactError, InvalidValueError, UnknownNameError
from edgecnn.image_size import Size, SizeLike
from edgecnn.registry import suggest
from edgecnn.runtime.image_limits import pixel_limit
from edgecnn.runtime.picture_fit import FITS, covering

#: Channels that an image may have.
_MOST_CHANNELS = 1024
#: Stands for a mean or a deviation that was left out; nothing else is this very object.
_UNSAID: tuple[float, ...] = (float("nan"),)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
#: `cv2.INTER_LINEAR`, which does not antialias; the others are Pillow's, which do.
OPENCV = "opencv-bilinear"
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "box", "lanczos", OPENCV)
#: Order of the channels.
COLORS = ("rgb", "bgr", "grey")
#: What a white pixel is before the mean is subtracted.
PIXELS = (1, 255)
#: Grey level of a letterbox, as in YOLO.
_PAD = 114
#: Fields that are several numbers.
_LISTS = ("pad", "mean", "std")


@dataclass(frozen=True)
class Preprocessing:
    """Fit a picture into the input's size, order its channels, scale, subtract `mean`, divide by `std`.

    Before that `open_image` decodes, turns upright and composes what is transparent on white.
    Resizing is Pillow's with antialiasing, which is what torchvision does to a PIL image, or OpenCV's.
    """

    #: Of the input, in pixels; a width of 0 stands for the height.
    height: int = 224
    width: int = 0
    #: "crop" (the centre, after the shorter side was resized), "stretch" or "letterbox" (the whole picture,
    #: in the centre, with `pad` around it); `picture_fit.FITS` has all.
    fit: str = "crop"
    #: Share of the shorter side that the crop keeps: 224 / 256 for most ImageNet networks. Others keep all.
    crop: float = 0.875
    #: Grey level around a letterboxed picture, 0..255; or one per channel, in the order of the channels.
    #: Unless given 114; without a letterbox none.
    pad: tuple[int, ...] = ()
    #: "bilinear", "bicubic", "nearest", "box" or "lanczos", which are Pillow's, or "opencv-bilinear".
    interpolation: str = "bilinear"
    #: "rgb", "bgr" or "grey"; of one channel always "grey".
    color: str = "rgb"
    #: 1 or 255: what a white pixel is to the network. `mean` and `std` are in this unit.
    pixels: int = 1
    #: Per channel. One value means a grey image. Unless given ImageNet's, of pixels up to 255 none.
    mean: tuple[float, ...] = _UNSAID
    std: tuple[float, ...] = _UNSAID

    def __post_init__(self) -> None:
        """Raise UnknownNameError or InvalidValueError for values that no image can be prepared with."""
        for what, value, known in (
            ("interpolation", self.interpolation, INTERPOLATIONS),
            ("fit", self.fit, tuple(FITS)),
            ("color", self.color, COLORS),
        ):
            if value not in known:
                raise UnknownNameError(f"unknown {what} {value!r}", hint=suggest(str(value), list(known)))
        if self.pixels not in PIXELS or type(self.pixels) is not int:
            raise InvalidValueError(f"pixels of {self.pixels!r} cannot be", hint="1 for 0..1, 255 for 0..255")
        self._complete()
        self._demand_size()
        self._demand_channels()

    def _complete(self) -> None:
        """Put in what the other fields say of those that were left out."""
        kind = FITS[self.fit]
        mean, std = self._usual()
        said = {
            "width": self.width or self.height,
            "crop": self.crop if kind.crops else 1.0,
            "pad": (self.pad or (_PAD,)) if kind.pads else (),
            "mean": mean if self.mean is _UNSAID else self.mean,
            "std": std if self.std is _UNSAID else self.std,
        }
        if len(self.mean if self.mean is not _UNSAID else mean) == 1:
            said["color"] = "grey"
        for name, value in said.items():
            object.__setattr__(self, name, value)

    def _usual(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and deviation that stand for those left out."""
        given = next((item for item in (self.mean, self.std) if item is not _UNSAID), None)
        channels = len(given) if given is not None else 1 if self.color == "grey" else 3
        if self.pixels != 1:
            return (0.0,) * channels, (1.0,) * channels
        if given is None and channels == 1:
            return (sum(IMAGENET_MEAN) / 3,), (sum(IMAGENET_STD) / 3,)
        return IMAGENET_MEAN, IMAGENET_STD

    def _demand_size(self) -> None:
        whole = all(isinstance(side, int) and side >= 1 for side in (self.height, self.width))
        if not whole or self.crop <= 0 or min(self.resize) < 1:
            raise InvalidValueError(
                f"no image can be cut to size {self.height} x {self.width}, crop {self.crop}",
                hint="all are above 0, and the size is a whole number of pixels",
            )
        if self.resize.pixels > pixel_limit():
            raise InvalidValueError(
                f"images of {self.resize} pixels are too large to prepare",
                hint=f"at most {pixel_limit():,} pixels; EDGECNN_MAX_PIXELS sets another limit",
            )

    def _demand_channels(self) -> None:
        if max(len(self.mean), len(self.std)) > _MOST_CHANNELS:
            raise InvalidValueError(
                f"no image has {max(len(self.mean), len(self.std))} input channels, and as many means",
                hint=f"1 to {_MOST_CHANNELS:,}",
            )
        if (
            not 0 < len(self.mean) == len(self.std)
            or 0 in self.std
            or not all(map(math.isfinite, self.mean + self.std))
        ):
            raise InvalidValueError(
                f"mean {self.mean} and std {self.std} normalize no image",
                hint="give one of each for each channel, and no deviation of 0",
            )
        levels = all(isinstance(level, int) and 0 <= level <= 255 for level in self.pad)
        if FITS[self.fit].pads and not (levels and len(self.pad) in (1, 3 if self.bands == "RGB" else 1)):
            raise InvalidValueError(
                f"a pad of {self.pad} goes around no image of {self.channels} channels",
                hint="one level from 0 to 255, or one for each of three channels",
            )

    @property
    def channels(self) -> int:
        """Number of channels: 3 for colour, 1 for grey."""
        return len(self.mean)

    @property
    def size(self) -> Size:
        """Height and width of the input, in pixels."""
        return Size(self.height, self.width)

    @property
    def resize(self) -> Size:
        """What a picture covers, or fits in, after resizing, in pixels."""
        return covering(self.size, self.crop)

    @property
    def bands(self) -> str:
        """Pillow's mode of the picture that is fitted: "L" or "RGB"."""
        return "L" if self.color == "grey" else "RGB"

    def at(self, size: SizeLike) -> Preprocessing:
        """Return the same preprocessing for another input size: that of a square, or height and width."""
        height, width = Size.of(size)
        return dataclasses.replace(self, height=height, width=width)

    def with_channels(self, channels: int) -> Preprocessing:
        """Return the same preprocessing for 1 (grey) or more channels; means and deviations are cycled."""
        if channels == self.channels:
            return self
        if channels == 1:
            pad = (round(sum(self.pad) / len(self.pad)),) if self.pad else ()
            mean, std = ((sum(values) / len(values),) for values in (self.mean, self.std))
            return dataclasses.replace(self, pad=pad, color="grey", mean=mean, std=std)
        cycle = [index % self.channels for index in range(channels)]
        return dataclasses.replace(
            self,
            color="rgb" if self.channels == 1 else self.color,
            mean=tuple(self.mean[i] for i in cycle),
            std=tuple(self.std[i] for i in cycle),
        )

    @classmethod
    def said(
        cls, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, pixels: int = 1
    ) -> Preprocessing | None:
        """Return what a mean and a deviation for each channel say; None where neither is given.

        Raises InvalidValueError.
        """
        if mean is None and std is None:
            return None
        try:
            if min(std or (1.0,)) <= 0:
                raise InvalidValueError("a deviation is not above zero")
            return cls(
                mean=mean or (0.0,) * len(std or ()), std=std or (1.0,) * len(mean or ()), pixels=pixels
            )
        except InvalidValueError as error:
            raise InvalidValueError(
                f"a mean of {mean or 0} and a deviation of {std or 1} prepare no image",
                hint="as many finite numbers each, with commas between, and deviations above zero",
            ) from error

    def demand_input(self, shape: Sequence[int | str], layout: str, name: str) -> None:
        """Raise ArtifactError for an input, (N, channels, height, width) or NHWC, that takes other images."""
        made = (*self.size, self.channels) if layout == "NHWC" else (self.channels, *self.size)
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

    def __str__(self) -> str:
        """Return it for people."""
        kind = FITS[self.fit]
        fit = f"{self.fit} {self.crop:.4g}" if kind.crops else self.fit
        around = f" in {','.join(map(str, self.pad))}" if kind.pads else ""
        mean, std = (",".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        values = f"{self.color} of 0..{self.pixels}, mean {mean}, deviation {std}"
        return f"{self.size}, {fit}{around}, {self.interpolation}, {values}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, as they stand in a manifest; of a square `size` too."""
        values = {**dataclasses.asdict(self), **{name: list(getattr(self, name)) for name in _LISTS}}
        if not FITS[self.fit].pads:
            del values["pad"]
        return {**({"size": self.height} if self.size.is_square else {}), **values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what `to_json` wrote; fields of a later version are ignored. Raises ArtifactError."""
        known = {item.name for item in dataclasses.fields(cls)}
        try:
            fields = {key: value for key, value in values.items() if key in known}
            if "size" in values:  # all that the first manifests say
                fields = {"height": values["size"], "width": values["size"], **fields}
                if fields["height"] != values["size"] or fields["width"] != values["size"]:
                    raise ValueError("its size is not its height and width")
            mean, std = (tuple(map(float, values[key])) for key in ("mean", "std"))
            if "pad" in fields:
                fields["pad"] = tuple(fields["pad"])
            return cls(**{**fields, "mean": mean, "std": std})
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArtifactError(
                f"the manifest's preprocessing is damaged: {type(error).__name__}: {str(error)[:200]}",
                hint="export the model again",
            ) from error
