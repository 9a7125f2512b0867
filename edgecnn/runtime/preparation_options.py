"""The options that say how images become a network's input: one group, of every verb that prepares images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size
from edgecnn.options import Request, about, option
from edgecnn.runtime.named_preparations import NAMED_PREPARATIONS
from edgecnn.runtime.picture_fit import FITS
from edgecnn.runtime.preprocessing import COLORS, INTERPOLATIONS, PIXELS, Preprocessing

if TYPE_CHECKING:
    from edgecnn.runtime.engine import Engine

#: Of these one is enough to know what a network's values mean.
_NORMALIZATION = ("prepare", "pixels", "mean", "std")
#: Whether one of these is right depends on the others.
_CHECKED_TOGETHER = ("pad", "pixels", "mean", "std")


def numbers(text: str) -> tuple[float, ...]:
    """Read "0.485,0.456,0.406"; raises InvalidValueError."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidValueError(
            f"{text!r} are no numbers with commas between", hint="as in 0.485,0.456,0.406"
        ) from error


def levels(text: str) -> tuple[int, ...]:
    """Read "114" or "104,117,124"; raises InvalidValueError."""
    values = numbers(text)
    if any(value != round(value) for value in values):
        raise InvalidValueError(f"{text!r} are no grey levels", hint="whole numbers from 0 to 255")
    return tuple(map(round, values))


@dataclass(frozen=True, kw_only=True)
class PreparationOptions(Request):
    """What is said of the preparation. What is not comes from `prepare`, the file's manifest, the defaults.

    Raises InvalidValueError or UnknownNameError for values that prepare no image.
    """

    prepare: str | None = option(
        None,
        f"Preparation by name: {', '.join(NAMED_PREPARATIONS)}.",
        unset="the file's own",
        choices=tuple(NAMED_PREPARATIONS),
    )
    size: Size | None = option(
        None, "Size of the input, for a file that leaves it open: SIDE or HEIGHTxWIDTH.", read=Size.of
    )
    fit: str | None = option(None, f"Fit of a picture into it: {', '.join(FITS)}.", choices=tuple(FITS))
    crop: float | None = option(None, "Share of the shorter side that a crop keeps.", above=0, most=1)
    pad: tuple[int, ...] | None = option(
        None, "Grey level around a letterboxed picture, or one per channel.", read=levels
    )
    interpolation: str | None = option(
        None, f"Interpolation: {', '.join(INTERPOLATIONS)}.", choices=INTERPOLATIONS
    )
    color: str | None = option(None, "Order of the channels: rgb, bgr, grey.", choices=COLORS)
    pixels: int | None = option(
        None,
        "Value of a white pixel: 1 or 255; alone, without mean.",
        least=min(PIXELS),
        most=max(PIXELS),
    )
    mean: tuple[float, ...] | None = option(
        None, "Mean of the channels, in the unit of `pixels`: 0.485,0.456,0.406.", read=numbers
    )
    std: tuple[float, ...] | None = option(
        None, "Standard deviation likewise: 0.229,0.224,0.225.", read=numbers
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None:
            object.__setattr__(self, "size", Size.of(self.size))
        if self.fit or self.prepare or not (self.crop or self.pad):  # else what the file says decides
            self.applied(None, len(self.mean or self.std or (0.0,) * 3))

    @property
    def says(self) -> bool:
        """Whether anything is said."""
        return any(getattr(self, item.name) is not None for item in dataclasses.fields(self))

    @property
    def said_by(self) -> str | None:
        """The options that say what a network's values mean; None if none does."""
        names = [f"`{name}`" for name in _NORMALIZATION if getattr(self, name) is not None]
        return " and ".join(names) or None

    def applied(
        self,
        known: Preprocessing | None,
        channels: int,
        size: Sequence[int] | None = None,
        name: str = "the network",
    ) -> Preprocessing:
        """Return the preparation of a network's images of `channels`, (height, width) in `size`.

        `known` is what its file, `name`, says. Raises InvalidValueError for what does not fit it.
        """
        below = NAMED_PREPARATIONS[self.prepare] if self.prepare else known or Preprocessing()
        below = below.with_channels(channels)
        changes: dict[str, Any] = {
            name: value
            for name in ("fit", "crop", "pad", "interpolation", "color", "pixels")
            if (value := getattr(self, name)) is not None
        }
        with about(*(name for name in _CHECKED_TOGETHER if getattr(self, name) is not None)):
            changes |= self._normalization(channels, name)
            result = dataclasses.replace(below, **changes)
        for name, kinds in (("crop", "crops"), ("pad", "pads")):
            if name in changes and not getattr(FITS[result.fit], kinds):
                fits = ", ".join(fit for fit, row in FITS.items() if getattr(row, kinds))
                raise InvalidValueError(f"`{name}` says nothing to fit {result.fit}", hint=f"`fit`: {fits}")
        return result.at(size or self.size or below.size)

    def _normalization(self, channels: int, name: str) -> dict[str, tuple[float, ...]]:
        """Return the mean and the deviation that are said; pixels alone mean none."""
        if self.mean is None and self.std is None:
            plain = {"mean": (0.0,) * channels, "std": (1.0,) * channels}
            return plain if self.pixels is not None else {}
        said = Preprocessing.said(self.mean, self.std, self.pixels or 1)
        assert said is not None
        if said.channels != channels:
            raise InvalidValueError(
                f"{name} takes {channels} channels, the mean and deviation {said.channels}",
                hint="give `mean` and `std` one number per channel",
            )
        return {"mean": said.mean, "std": said.std}


def prepared_for(engine: Engine, said: PreparationOptions) -> Preprocessing:
    """Return what options say of an engine's images, over what its file says.

    Raises InvalidValueError for what does not fit its input.
    """
    known = engine.preprocessing if engine.is_prepared else None
    shape, name = engine.input.shape, engine.path.name
    if len(shape) != 4:
        raise InvalidValueError(
            f"{name} takes no images, but {' x '.join(map(str, shape))}",
            hint="leave out how they are prepared",
        )
    *sides, channels = shape[1:] if engine.input.layout == "NHWC" else (*shape[2:], shape[1])
    free = said.size or (known.size if known else (None, None))
    size = [side if isinstance(side, int) else other for side, other in zip(sides, free, strict=True)]
    if said.size is not None and tuple(size) != said.size:
        raise InvalidValueError(
            f"{name} takes images of {' x '.join(map(str, sides))} pixels, not {said.size}",
            hint="leave `size` out",
        )
    count = channels if isinstance(channels, int) else known.channels if known else 3
    return said.applied(known, count, None if None in size else [side or 0 for side in size], name)
