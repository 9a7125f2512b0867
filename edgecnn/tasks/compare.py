"""Does one network compute what another computes? On real images, and only where that proves something.

Every output is measured by its signal-to-noise ratio. Whether decisions stay the same is said only of outputs
that decide something, which the network's task tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import ParityError
from edgecnn.parity import Output, OutputParity, Parity, check_finite, difference
from edgecnn.tasks import Task, task_of_values


def varies(references: Sequence[Output], task: Task | None = None) -> bool:
    """Return whether any output depends on the image; `task` is told by the outputs where it is left out."""
    task = task or task_of_values(references)
    return any(task.varies(item) for item in references)


def compare(
    reference: npt.NDArray[Any], output: npt.NDArray[Any], what: str, *, constant: bool = False
) -> Parity:
    """Measure one output, (images, ...), against its reference, as `compare_outputs` does."""
    return compare_outputs([Output("output", reference)], [Output("output", output)], what, constant=constant)


def compare_outputs(
    references: Sequence[Output],
    outputs: Sequence[Output],
    what: str,
    *,
    constant: bool = False,
    task: Task | None = None,
) -> Parity:
    """Measure outputs against those of the reference, one for one; `what` names the model in errors.

    The `task` says what they decide; it is told by the outputs where it is left out. Raises ParityError if
    shapes differ, if a value is not finite, or if nothing in the reference depends on
    the image: then agreeing with it would prove nothing. `constant` says that the caller knows, and says so.
    """
    for left, right in zip(references, outputs, strict=True):
        if left.values.shape != right.values.shape or not left.values.size:
            raise ParityError(
                f"{what} gives {right.name!r} of shape {right.values.shape}, its reference"
                f" {left.values.shape}"
            )
    check_finite(references, f"the reference of {what}")
    task = task or task_of_values(references)
    if not constant and not varies(references, task):
        raise ParityError(
            f"the reference of {what} gives the same outputs for all {len(references[0].values)} images, so"
            " comparing with it would prove nothing",
            hint="use trained weights, or check with more and different images",
        )
    check_finite(outputs, what)
    paired = zip(*task.paired(references, outputs), strict=True)
    return Parity.of(
        [_compared(left, right, task) for left, right in paired],
        len(references[0].values),
        task.kept(references, outputs),
    )


def _compared(reference: Output, output: Output, task: Task) -> OutputParity:
    largest, decibels = difference(reference.values, output.values)
    before = task.decisions(reference)
    after = task.decisions(output.with_threshold(reference.threshold))
    agreement = decisions = None
    if before is not None and after is not None:
        decisions = len(np.unique(before))
        if task.proves(before, reference):
            agreement = float(np.mean(before == after))
    return OutputParity(
        reference.name,
        task.kind(reference),
        max_abs_diff=largest,
        sqnr_db=decibels,
        top1_agreement=agreement,
        reference_classes=decisions,
    )


def comparable(outputs: Sequence[Output]) -> list[Output]:
    """Return the outputs of floating-point numbers: of an index nobody can say how near it is."""
    return [item for item in outputs if item.values.dtype.kind == "f"]


def same_outputs(references: Sequence[Output], outputs: Sequence[Output], what: str) -> list[Output]:
    """Return those of the outputs that references stand for, by name, in their order; raises ParityError.

    A network with one output gives that one, whatever a library calls it. Scores keep their reference's
    threshold.
    """
    named = {item.name: item for item in outputs}
    if len(references) == len(outputs) == 1:
        named = {references[0].name: outputs[0]}
    missing = [item.name for item in references if item.name not in named]
    if missing:
        raise ParityError(f"{what} does not give {', '.join(map(repr, missing))} as its reference does")
    return [named[item.name] for item in references]
