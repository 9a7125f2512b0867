"""The one way from a float graph to one of less precision: of a network, of a file, or of what is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from edgecnn.budget import Budget
from edgecnn.parity import Parity, demand
from edgecnn.progress import Progress, duration, silent
from edgecnn.quantize import accuracy_floor
from edgecnn.quantize.accuracy_floor import Ruined, ruined
from edgecnn.quantize.escalate import Finetune, Outcome, Verdict, escalate, picked
from edgecnn.quantize.float16 import convert, float16_layers
from edgecnn.quantize.layer_sensitivity import SCAN_IMAGES, scan
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.quantizer import Batches, Quantizer
from edgecnn.quantize.reference import Reference
from edgecnn.quantize.time_budget import TimeBudget
from edgecnn.targets import Target

#: Least agreement with the float network, in decibels, below which nothing is written. A rewritten float32
#: graph has to reach the first before its precision is reduced; how much int8 keeps is the budget's matter.
MIN_SQNR_DB = {"float32": 60.0, "float16": 25.0}
#: Share of a time beyond which it is said that it was not kept.
_LATE = 0.1

#: Chooses among the results that a quantizer can make.
Choose = Callable[[Quantizer], Outcome]


@dataclass(frozen=True)
class Reduction:
    """What a graph is reduced to."""

    #: "float32" (as it is), "float16" or "int8".
    precision: str
    target: Target
    #: Method by which the ranges of int8 are found.
    ranges: str = "mse"
    #: What int8 must keep.
    budget: Budget = field(default_factory=Budget)
    #: Whether int8 that is below the floor is taken as it is.
    accepted: bool = False
    #: What stays float in int8.
    chosen: ChosenNodes = field(default_factory=ChosenNodes)
    #: What int8 may take; None for as long as it needs.
    time: TimeBudget | None = None
    #: Calibration images, at most; None if that is not known.
    images: int | None = None


@dataclass(frozen=True)
class Reduced:
    """A graph of another precision, not yet compared with the float network."""

    model: onnx.ModelProto
    how: Reduction
    #: Of int8: what was chosen.
    outcome: Outcome | None = None
    #: Of float16: node that computes in float32: why.
    kept: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def what(self) -> str:
        """The graph in words, for errors."""
        return f"the {self.how.precision} model"


@dataclass(frozen=True)
class Checked:
    """How much of the float network a reduced graph keeps."""

    parity: Parity
    #: What the manifest keeps of an int8 graph; None for another.
    quantization: dict[str, Any] | None
    #: Set for int8 that is below the floor.
    ruined: Ruined | None
    #: Whether budget and floor were met; None where no budget was given and the floor was met.
    met: bool | None


def reduce_precision(
    model: onnx.ModelProto, how: Reduction, batches: Batches, choose: Choose, progress: Progress = silent
) -> Reduced:
    """Return a prepared float graph in the precision that is asked for.

    `batches` is called for each pass over the calibration images, (N, C, H, W) float32. `choose` picks the
    int8 form; see `by_escalation`. Raises DataError for no images or values that are not
    finite, ArtifactError for a graph that has no such form, and what `choose` raises.
    """
    if how.precision == "int8":
        return _int8(model, how, batches, choose, progress)
    if how.precision == "float16":
        half = convert.to_float16(model, convert.extremes(model, batches()))
        return Reduced(half.model, how, kept=half.kept, notes=half.notes())
    return Reduced(model, how)


def _int8(
    model: onnx.ModelProto, how: Reduction, batches: Batches, choose: Choose, progress: Progress
) -> Reduced:
    quantizer = Quantizer(
        model, batches, how.target.scheme, how.ranges, progress, how.chosen, images=how.images, time=how.time
    )
    outcome = choose(quantizer)
    result = outcome.quantized.model
    if how.target.mixes_float16:
        result = float16_layers.with_float16(result, picked(outcome.quantized.float_nodes))
    return Reduced(result, how, outcome, notes=_of_time(outcome, how))


def _of_time(outcome: Outcome, how: Reduction) -> list[str]:
    """Return what is to be said of a run that had a time to keep."""
    if how.time is None:
        return []
    quantized = outcome.quantized
    said = "done in time" if not outcome.stopped else "stopped for time"
    said += f" ({duration(how.time.seconds)})"
    if how.time.passed > (1 + _LATE) * how.time.seconds:
        said += f", though the least that there is to do took {duration(how.time.passed)}"
    if quantized.cut_short:
        total = "" if how.images is None else f" of {how.images}"
        said += f"; {quantized.calibrated}{total} images calibrated"
    if quantized.fewer_images is not None:
        said += f"; {quantized.fewer_images} images repaired"
    if missed := len(quantized.out_of_time):
        said += f"; {missed} layers more would have been repaired"
    why = "what is done within a time depends on the clock, so that the same seed may give another file"
    return [f"{said}. Mind that {why}"]


def by_escalation(
    reference: Reference,
    effort: str,
    budget: Budget,
    progress: Progress,
    *,
    constant: bool = True,
    drop: Callable[[onnx.ModelProto], float] | None = None,
    finetune: Finetune | None = None,
) -> Choose:
    """Return what tries one recipe after the other, judged against the reference; see `escalate`.

    `drop` measures a model's loss of top-1, in points. Without `constant`, outputs that never change are an
    error.
    """

    def judge(candidate: onnx.ModelProto) -> Verdict:
        parity = reference.parity(candidate, "the int8 model", constant=constant)
        return Verdict(parity, drop(candidate) if drop else None)

    def choose(quantizer: Quantizer) -> Outcome:
        images = reference.images[:SCAN_IMAGES]
        return escalate(
            quantizer,
            judge,
            lambda quantized: scan(quantized, quantizer.macs, images, progress),
            effort,
            budget,
            progress,
            finetune,
        )

    return choose


def check(reduced: Reduced, verdict: Verdict, why: Sequence[str]) -> Checked:
    """Hold a reduced graph, which was compared with the float network, to the least that it must keep.

    `why` are the likely causes where int8 is below the floor (`accuracy_floor.causes`). Raises ParityError
    for a float graph that keeps too little.
    """
    how, outcome = reduced.how, reduced.outcome
    demand(verdict.parity, MIN_SQNR_DB.get(how.precision, -np.inf), reduced.what)
    if outcome is None:
        return Checked(verdict.parity, None, None, None)
    quantization = {**outcome.quantized.to_json(), **outcome.to_json(how.budget)}
    if how.time is not None:
        quantization["time"] = {"seconds": how.time.seconds, "stopped": outcome.stopped}
    poor = ruined(verdict.parity, how.budget, why, accepted=how.accepted, drop=verdict.drop)
    if poor is None:
        return Checked(verdict.parity, quantization, None, outcome.met)
    quantization[accuracy_floor.KEY] = poor.to_json()
    return Checked(verdict.parity, quantization, poor, outcome.met if poor.accepted else False)
