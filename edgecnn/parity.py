"""Does one model compute what another computes? On real images, and only where that proves something.

Every output is measured by its signal-to-noise ratio. Whether decisions stay the same is said only of outputs
that decide something, which their shape tells:

- class scores: a row of two or more values for each image, (images, classes). The decision is the largest.
- a score: one value for each image. The decision is the side of a threshold that it lies on: of 0, or of 0.5
  where the network ends in a sigmoid.
- values: anything else, such as a map or boxes. Nothing is decided.

Sizes of 1 at a shape's end do not count: (images, classes, 1, 1) are class scores.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import ParityError

#: A reference whose outputs vary less than this over the images, relative to their size, is a constant.
MIN_SPREAD = 1e-3
#: What an output is.
CLASS_SCORES, SCORE, VALUES = "class scores", "score", "values"
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
    def kind(self) -> str:
        """CLASS_SCORES, SCORE or VALUES."""
        sizes = list(self.values.shape[1:])
        while sizes and sizes[-1] == 1:
            sizes.pop()
        return VALUES if len(sizes) > 1 else CLASS_SCORES if sizes else SCORE

    def decisions(self) -> npt.NDArray[np.int64] | None:
        """Return what is decided for each image, (images,); None for values."""
        if self.kind == VALUES:
            return None
        rows = self.values.reshape(len(self.values), -1)
        return rows.argmax(axis=1) if rows.shape[1] > 1 else (rows[:, 0] > self.threshold).astype(np.int64)


@dataclass(frozen=True)
class OutputParity:
    """How near one output is to its reference."""

    name: str
    #: CLASS_SCORES, SCORE or VALUES.
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
    #: Share of the images for which the reference's class, or side of the threshold, is kept; None where no
    #: output decides anything.
    top1_agreement: float | None
    images: int
    #: Number of different decisions of the reference: with 1, agreement says little. None as above.
    reference_classes: int | None
    outputs: tuple[OutputParity, ...] = ()

    @classmethod
    def of(cls, outputs: Sequence[OutputParity], images: int) -> Parity:
        """Return the worst figures of outputs."""
        agreements = [item.top1_agreement for item in outputs if item.top1_agreement is not None]
        classes = [item.reference_classes for item in outputs if item.reference_classes is not None]
        return cls(
            max_abs_diff=max(item.max_abs_diff for item in outputs),
            sqnr_db=min(item.sqnr_db for item in outputs),
            top1_agreement=min(agreements, default=None),
            images=images,
            reference_classes=min(classes, default=None),
            outputs=tuple(outputs),
        )

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


def varies(references: Sequence[Output]) -> bool:
    """Return whether any output depends on the image; of class scores, whether their differences do."""
    for item in references:
        values = item.values.reshape(len(item.values), -1)
        if len(values) < 2 or not spread(values) > MIN_SPREAD:
            continue
        if item.kind != CLASS_SCORES:
            return True
        middle = values.mean(axis=1, keepdims=True, dtype=np.float64)
        size = np.sqrt(np.mean(np.square(values, dtype=np.float64)))
        if np.sqrt(np.mean(np.var(values - middle, axis=0))) / size > MIN_SPREAD:
            return True
    return False


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


def compare(
    reference: npt.NDArray[Any], output: npt.NDArray[Any], what: str, *, constant: bool = False
) -> Parity:
    """Measure one output, (images, ...), against its reference, as `compare_outputs` does."""
    return compare_outputs([Output("output", reference)], [Output("output", output)], what, constant=constant)


def compare_outputs(
    references: Sequence[Output], outputs: Sequence[Output], what: str, *, constant: bool = False
) -> Parity:
    """Measure outputs against those of the reference, one for one; `what` names the model in errors.

    Raises ParityError if shapes differ, if a value is not finite, or if nothing in the reference depends on
    the image: then agreeing with it would prove nothing. `constant` says that the caller knows, and says so.
    """
    for left, right in zip(references, outputs, strict=True):
        if left.values.shape != right.values.shape or not left.values.size:
            raise ParityError(
                f"{what} gives {right.name!r} of shape {right.values.shape}, its reference"
                f" {left.values.shape}"
            )
    check_finite(references, f"the reference of {what}")
    if not constant and not varies(references):
        raise ParityError(
            f"the reference of {what} gives the same outputs for all {len(references[0].values)} images, so"
            " comparing with it would prove nothing",
            hint="use trained weights, or check with more and different images",
        )
    check_finite(outputs, what)
    return Parity.of(
        [_compared(left, right) for left, right in zip(references, outputs, strict=True)],
        len(references[0].values),
    )


def _compared(reference: Output, output: Output) -> OutputParity:
    noise = signal = largest = 0.0
    # Image by image: maps of many images in float64 would not fit into memory.
    for left, right in zip(reference.values, output.values, strict=True):
        wide = np.asarray(left, np.float64)
        difference = wide - right
        noise += float(np.sum(np.square(difference)))
        signal += float(np.sum(np.square(wide)))
        largest = max(largest, float(np.max(np.abs(difference))))
    before = reference.decisions()
    after = dataclasses.replace(output, threshold=reference.threshold).decisions()
    agreement = decisions = None
    if before is not None and after is not None:
        decisions = len(np.unique(before))
        if reference.kind == CLASS_SCORES or decisions > 1:
            agreement = float(np.mean(before == after))
    return OutputParity(
        reference.name,
        reference.kind,
        max_abs_diff=largest,
        sqnr_db=10 * math.log10(max(signal, _NO_SIGNAL) / noise) if noise else math.inf,
        top1_agreement=agreement,
        reference_classes=decisions,
    )


def demand(parity: Parity, min_sqnr_db: float, what: str) -> None:
    """Raise ParityError if an output is farther from its reference than `min_sqnr_db`."""
    if parity.sqnr_db < min_sqnr_db:
        where = f" at output {parity.worst}" if parity.worst else ""
        agreement = parity.top1_agreement
        share = "" if agreement is None else f" ({agreement:.0%} of {parity.images} images agree)"
        raise ParityError(
            f"{what} does not agree with its reference{where}: {parity.sqnr_db:.1f} dB, at least"
            f" {min_sqnr_db:g} dB expected{share}",
            hint="this is a defect of the export: please report it with the command line",
        )
