"""Try one recipe after the other until a budget is met; then train; then leave layers in float; then give up.

Without a budget, what the effort stands for is done, and of several results the best is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx

from edgecnn.budget import Budget
from edgecnn.errors import InvalidValueError
from edgecnn.parity import Parity
from edgecnn.progress import Progress, silent
from edgecnn.quantize.efforts import DIRECT, LADDERS
from edgecnn.quantize.layer_sensitivity import LayerSensitivity
from edgecnn.quantize.quantizer import Quantized, Quantizer
from edgecnn.registry import suggest

#: Of the multiply-accumulates, at least this share stays int8 in mixed precision: a network that needs
#: more float than that is better left in float.
LEAST_INT8_SHARE = 0.5
#: Why a layer that mixed precision picked is float.
SENSITIVE = "among the most sensitive layers"
#: The attempt that trains.
TRAINING = "quantization-aware training"


@dataclass(frozen=True)
class Verdict:
    """How good an int8 model is: against float, and its loss of top-1 in points if that was measured."""

    parity: Parity
    drop: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One thing that was tried."""

    name: str
    verdict: Verdict
    int8_mac_share: float
    met: bool | None

    def to_json(self) -> dict[str, Any]:
        """Return a row of the table of attempts."""
        parity = self.verdict.parity.to_json()
        return {
            "name": self.name,
            "sqnr_db": parity["sqnr_db"],
            "top1_agreement": parity["top1_agreement"],
            "top1_drop": self.verdict.drop,
            "int8_mac_share": self.int8_mac_share,
            "met": self.met,
        }


@dataclass(frozen=True)
class Outcome:
    """The result that was kept, and everything that was tried."""

    quantized: Quantized
    verdict: Verdict
    attempts: tuple[Attempt, ...]
    #: None if no budget was given.
    met: bool | None

    def to_json(self, budget: Budget) -> dict[str, Any]:
        """Return what the manifest keeps of the escalation."""
        result: dict[str, Any] = {"attempts": [attempt.to_json() for attempt in self.attempts]}
        if self.met is not None:
            result["budget"] = {**budget.to_json(), "met": self.met}
        return result


def picked(float_nodes: Mapping[str, str]) -> list[str]:
    """Return the layers that mixed precision left in float."""
    return [name for name, rule in float_nodes.items() if rule == SENSITIVE]


Judge = Callable[[onnx.ModelProto], Verdict]
Scan = Callable[[Quantized], list[LayerSensitivity]]
Finetune = Callable[[Quantized], Quantized]


def escalate(
    quantizer: Quantizer,
    judge: Judge,
    scan: Scan,
    effort: str = "default",
    budget: Budget = Budget(),  # noqa: B008 - it is frozen
    progress: Progress = silent,
    finetune: Finetune | None = None,
) -> Outcome:
    """Return the first result that meets the budget, else the best one.

    `judge` measures an int8 model; `scan` ranks the layers of a result, for mixed precision. `finetune`,
    where there are images to train on, gets the best result of the recipes if the budget is not met by then,
    or if there is none, and gives it back trained. Raises InvalidValueError for an unknown effort.
    """
    if effort not in LADDERS:
        raise InvalidValueError(f"unknown effort {effort!r}", hint=suggest(effort, list(LADDERS)))
    attempts: list[Attempt] = []

    def attempt(name: str, make: Callable[[], Quantized]) -> tuple[Quantized, Verdict, bool]:
        progress(name)
        quantized = make()
        progress(f"{name}: check")
        verdict = judge(quantized.model)
        met = budget.met(verdict.parity, verdict.drop) if budget.asks else None
        attempts.append(Attempt(name, verdict, quantized.int8_mac_share, met))
        return quantized, verdict, bool(met)

    best: tuple[Quantized, Verdict] | None = None
    for recipe in (LADDERS if budget.asks else DIRECT)[effort]:
        quantized, verdict, met = attempt(recipe.name, partial(quantizer, recipe))
        if met:
            return Outcome(quantized, verdict, tuple(attempts), True)
        if best is None or _rank(verdict) > _rank(best[1]):
            best = quantized, verdict
    if best is None:
        raise ValueError(f"effort {effort} has no recipes")
    untrained = best[0]
    if finetune is not None:
        quantized, verdict, met = attempt(TRAINING, partial(finetune, untrained))
        if met:
            return Outcome(quantized, verdict, tuple(attempts), True)
        if _rank(verdict) > _rank(best[1]):
            best = quantized, verdict
    if not budget.asks:
        return Outcome(*best, tuple(attempts), None)
    mixed = _mixed_precision(untrained, quantizer, scan, attempt, progress)
    return Outcome(*(mixed or best), tuple(attempts), mixed is not None)


def _rank(verdict: Verdict) -> tuple[float, float]:
    # Labelled images say what matters; else the ratio, which is less noisy than the agreement.
    return -(verdict.drop or 0.0), verdict.parity.sqnr_db


def _mixed_precision(
    best: Quantized,
    quantizer: Quantizer,
    scan: Scan,
    attempt: Callable[[str, Callable[[], Quantized]], tuple[Quantized, Verdict, bool]],
    progress: Progress,
) -> tuple[Quantized, Verdict] | None:
    """Return the result with the fewest of the most sensitive layers in float that meets the budget."""
    progress("sensitivity")
    order = [layer.node for layer in sorted(scan(best), key=lambda layer: layer.alone_db)]
    total = sum(quantizer.macs.values())
    spent = np.cumsum([quantizer.macs.get(name, 0) for name in order])
    most = int(np.sum(spent <= (1 - LEAST_INT8_SHARE) * total))

    def with_float(count: int) -> tuple[Quantized, Verdict, bool]:
        what = f"{best.recipe.name}, {count} layer{'s' * (count != 1)} float"
        # Repaired anew: what the layers after a float one make up for is not the same.
        return attempt(what, lambda: quantizer(best.recipe, dict.fromkeys(order[:count], SENSITIVE)))

    # Double until it is met, then halve the gap: few layers are the likely answer.
    failed, count = 0, 1
    found: tuple[Quantized, Verdict] | None = None
    while count <= most:
        quantized, verdict, met = with_float(count)
        if met:
            found = quantized, verdict
            break
        failed, count = count, count * 2 if count * 2 <= most or count == most else most
    if found is None:
        return None
    while count - failed > 1:
        middle = (failed + count) // 2
        quantized, verdict, met = with_float(middle)
        if met:
            found, count = (quantized, verdict), middle
        else:
            failed = middle
    return found
