"""Height and width of an image, as options, manifests and tables say them."""

from __future__ import annotations

import numbers
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from edgecnn.errors import InvalidValueError

#: What a program may give: the side of a square, "192x256", or height and width.
SizeLike = int | str | Sequence[int]


class Size(NamedTuple):
    """Height and width, in pixels."""

    height: int
    width: int

    @classmethod
    def of(cls, value: SizeLike) -> Size:
        """Read the side of a square, "192x256" (height x width), or two numbers; raises InvalidValueError."""
        sides: Any = value
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}([xX]\d{1,9})?", value.strip()):
            sides = [int(side) for side in re.split("[xX]", value.strip())]
        elif isinstance(value, numbers.Integral) and not isinstance(value, bool):
            sides = [value]
        if not (isinstance(sides, Sequence) and len(sides) in (1, 2) and all(map(_is_side, sides))):
            raise InvalidValueError(
                f"{value!r} is no size of an image",
                hint="as in 224, or in 192x256: height x width, in pixels",
            )
        return cls(int(sides[0]), int(sides[-1]))

    @property
    def is_square(self) -> bool:
        """Whether the sides are alike."""
        return self.height == self.width

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def said(self) -> int | str:
        """What manifests, results and tables say: the side of a square, else "192x256"."""
        return self.height if self.is_square else f"{self.height}x{self.width}"

    def scaled(self, factor: float) -> Size:
        """Return each side times a factor, to whole pixels."""
        return Size(round(self.height * factor), round(self.width * factor))

    def __str__(self) -> str:
        """Return it for people: "192 x 256"."""
        return f"{self.height} x {self.width}"


def _is_side(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 1
