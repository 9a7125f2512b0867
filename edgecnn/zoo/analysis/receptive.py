"""Receptive fields: how much of the image one element of a feature map can see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """Height and width of a field and of the step between neighbouring fields, in pixels of the input.

    A size of infinity means the whole image, whatever its size.
    """

    size: tuple[float, float] = (1, 1)
    step: tuple[int, int] = (1, 1)

    def slide(self, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Field:
        """Return the field of a sliding window's output, by the recurrence of `formulas.receptive_field`."""
        size = [
            field + (k - 1) * d * step
            for field, k, d, step in zip(self.size, kernel, dilation, self.step, strict=True)
        ]
        step = [step * s for step, s in zip(self.step, stride, strict=True)]
        return Field((size[0], size[1]), (step[0], step[1]))

    def everything(self) -> Field:
        """Return the field of what has seen the whole image."""
        return Field((math.inf, math.inf), self.step)

    @property
    def side(self) -> float:
        """The larger of height and width."""
        return max(self.size)


def join(fields: Sequence[Field | None]) -> Field | None:
    """Return the field of what reads several maps: the largest of each; None if one is not defined."""
    known = [field for field in fields if field is not None]
    if not known or len(known) < len(fields):
        return None
    return Field(
        (max(field.size[0] for field in known), max(field.size[1] for field in known)),
        (max(field.step[0] for field in known), max(field.step[1] for field in known)),
    )
