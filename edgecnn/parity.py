"""Does one model compute what another computes? On real images, and only where that proves something."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import ParityError

#: A reference whose logits vary less than this over the images, relative to their size, is a constant.
MIN_SPREAD = 1e-3


@dataclass(frozen=True)
class Parity:
    """How near an output is to its reference, over logits of shape (images, classes)."""

    max_abs_diff: float
    #: 10 log10(sum(ref^2) / sum((ref - out)^2)), in decibels; infinite if they are equal.
    sqnr_db: float
    #: Share of the images whose most probable class is the reference's.
    top1_agreement: float
    images: int
    #: Number of different most probable classes of the reference: with 1, agreement says little.
    reference_classes: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; an infinite ratio becomes null."""
        values = dataclasses.asdict(self)
        return {**values, "sqnr_db": None if math.isinf(self.sqnr_db) else self.sqnr_db}


def spread(logits: npt.NDArray[Any]) -> float:
    """Return how much logits (images, classes) vary over images: deviation over root mean square."""
    size = float(np.sqrt(np.mean(np.square(logits, dtype=np.float64))))
    return float(np.sqrt(np.mean(np.var(logits, axis=0, dtype=np.float64)))) / size if size else 0.0


def compare(
    reference: npt.NDArray[Any], output: npt.NDArray[Any], what: str, *, constant: bool = False
) -> Parity:
    """Measure `output` against `reference`, both (images, classes); `what` names the output in errors.

    Raises ParityError if the output is not finite, or if the reference does not vary over its
    images: then agreeing with it would prove nothing. `constant` says that the caller
    knows, and says so.
    """
    if reference.shape != output.shape or reference.ndim != 2:
        raise ParityError(f"{what} has logits of shape {output.shape}, its reference {reference.shape}")
    if not constant and (len(reference) < 2 or not spread(reference) > MIN_SPREAD):
        raise ParityError(
            f"the reference of {what} gives the same logits for all {len(reference)} images, so comparing"
            " with it would prove nothing",
            hint="use trained weights, or check with more and different images",
        )
    if not np.all(np.isfinite(output)):
        raise ParityError(
            f"{what} gives logits that are not finite", hint="a value left its number format's range"
        )
    difference = reference.astype(np.float64) - output
    noise = float(np.sum(np.square(difference)))
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    best = reference.argmax(axis=1)
    return Parity(
        max_abs_diff=float(np.max(np.abs(difference))),
        sqnr_db=10 * math.log10(signal / noise) if noise else math.inf,
        top1_agreement=float(np.mean(best == output.argmax(axis=1))),
        images=len(reference),
        reference_classes=len(np.unique(best)),
    )


def demand(parity: Parity, min_sqnr_db: float, what: str) -> None:
    """Raise ParityError if an output is farther from its reference than `min_sqnr_db`."""
    if parity.sqnr_db < min_sqnr_db:
        raise ParityError(
            f"{what} does not agree with its reference: {parity.sqnr_db:.1f} dB, at least"
            f" {min_sqnr_db:g} dB expected ({parity.top1_agreement:.0%} of {parity.images} images agree)",
            hint="this is a defect of the export: please report it with the command line",
        )
