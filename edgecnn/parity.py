"""How near a network is to its reference: the figures, output by output.

What outputs decide, and whether comparing them proves something, the network's task knows: `tasks.compare`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.errors import ParityError

#: A reference whose outputs vary less than this over the images, relative to their size, is a constant.
MIN_SPREAD = 1e-3
#: Energy of a signal of zeros, whose logarithm would be none.
_NO_SIGNAL = 1e-300


@dataclass(frozen=True)
class Output:
    """What a network gives at one of its outputs."""

    name: str
    #: (images, ...) of floating-point numbers.
    values: npt.NDArray[Any]
    #: The decision of a score is whether it is above.
    threshold: float = 0.0

    @property
    def spec(self) -> TensorSpec:
        """What there is to know of it without its values."""
        return TensorSpec(self.name, ("batch", *self.values.shape[1:]), str(self.values.dtype), "")

    def with_threshold(self, threshold: float) -> Output:
        """Return the same values with another threshold."""
        return dataclasses.replace(self, threshold=threshold)


@dataclass(frozen=True)
class Kept:
    """How much of what a reference decides is decided again."""

    #: Of so many; None where keeping them would prove nothing.
    share: float | None
    count: int
    #: What is counted: "images", "boxes", "pixels".
    of: str = "images"


@dataclass(frozen=True)
class OutputParity:
    """How near one output is to its reference."""

    name: str
    #: What it is: "class scores", "score", "values".
    kind: str
    max_abs_diff: float
    #: 10 log10(sum(ref^2) / sum((ref - out)^2)), in decibels; infinite if they are equal.
    sqnr_db: float
    #: Share of the images for which the same is decided. None for values, and for a score whose reference
    #: decides the same for all images: that it goes on doing so says nothing.
    top1_agreement: float | None = None
    #: Number of different decisions of the reference; None for values.
    reference_classes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; an infinite ratio becomes null."""
        values = dataclasses.asdict(self)
        return {**values, "sqnr_db": None if math.isinf(self.sqnr_db) else self.sqnr_db}


@dataclass(frozen=True)
class Parity:
    """How near a network is to its reference: of several outputs the worst figures, and each one's."""

    max_abs_diff: float
    #: 10 log10(sum(ref^2) / sum((ref - out)^2)), in decibels; infinite if they are equal.
    sqnr_db: float
    #: Share of the images for which the reference's class, or side of the threshold, is kept; of a detector
    #: or a segmenter, share of its boxes or pixels. None where nothing is decided.
    top1_agreement: float | None
    images: int
    #: Number of different decisions of the reference: with 1, agreement says little. None as above.
    reference_classes: int | None
    outputs: tuple[OutputParity, ...] = ()
    #: What the agreement counts, and how many: "images", "boxes", "pixels".
    agreement_of: str = "images"
    counted: int | None = None

    @classmethod
    def of(cls, outputs: Sequence[OutputParity], images: int, kept: Kept | None = None) -> Parity:
        """Return the worst figures of outputs; `kept` is what they decide together, if they do."""
        agreements = [item.top1_agreement for item in outputs if item.top1_agreement is not None]
        classes = [item.reference_classes for item in outputs if item.reference_classes is not None]
        return cls(
            max_abs_diff=max(item.max_abs_diff for item in outputs),
            sqnr_db=min(item.sqnr_db for item in outputs),
            top1_agreement=kept.share if kept else min(agreements, default=None),
            images=images,
            reference_classes=min(classes, default=None),
            outputs=tuple(outputs),
            agreement_of=kept.of if kept else "images",
            counted=kept.count if kept else images,
        )

    @property
    def agreeing(self) -> str:
        """What agrees, in words; empty where nothing is decided."""
        if self.top1_agreement is None:
            return ""
        return f"{self.top1_agreement:.0%} of {self.counted} {self.agreement_of} agree"

    @property
    def worst(self) -> str:
        """Name of the output with the least ratio, quoted, if there are several; else empty."""
        if len(self.outputs) < 2:
            return ""
        return repr(min(self.outputs, key=lambda item: item.sqnr_db).name)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; an infinite ratio becomes null."""
        return {
            **dataclasses.asdict(self),
            "sqnr_db": None if math.isinf(self.sqnr_db) else self.sqnr_db,
            "outputs": [item.to_json() for item in self.outputs],
        }


def spread(values: npt.NDArray[Any]) -> float:
    """Return how much outputs, (images, ...), vary over images: deviation over root mean square."""
    size = float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
    return float(np.sqrt(np.mean(np.var(values, axis=0, dtype=np.float64)))) / size if size else 0.0


def check_finite(outputs: Sequence[Output], what: str) -> None:
    """Raise ParityError for values that are not finite; it names the output and counts the images."""
    for item in outputs:
        broken = ~np.isfinite(item.values.reshape(len(item.values), -1)).all(axis=1)
        if broken.any():
            raise ParityError(
                f"{what} gives values that are not finite for {int(broken.sum())} of {len(broken)} images, at"
                f" output {item.name!r}",
                hint="a value left its number format's range",
            )


def difference(reference: npt.NDArray[Any], output: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the largest difference of two outputs, (images, ...), and their ratio in decibels."""
    noise = signal = largest = 0.0
    # Image by image: maps of many images in float64 would not fit into memory.
    for left, right in zip(reference, output, strict=True):
        wide = np.asarray(left, np.float64)
        apart = wide - right
        noise += float(np.sum(np.square(apart)))
        signal += float(np.sum(np.square(wide)))
        largest = max(largest, float(np.max(np.abs(apart))))
    return largest, 10 * math.log10(max(signal, _NO_SIGNAL) / noise) if noise else math.inf


def demand(parity: Parity, min_sqnr_db: float, what: str) -> None:
    """Raise ParityError if an output is farther from its reference than `min_sqnr_db`."""
    if parity.sqnr_db < min_sqnr_db:
        where = f" at output {parity.worst}" if parity.worst else ""
        share = f" ({parity.agreeing})" if parity.agreeing else ""
        raise ParityError(
            f"{what} does not agree with its reference{where}: {parity.sqnr_db:.1f} dB, at least"
            f" {min_sqnr_db:g} dB expected{share}",
            hint="this is a defect of the export: please report it with the command line",
        )
