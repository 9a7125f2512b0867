"""Try one recipe after the other until a budget is met; then train; then leave layers in float; then give up.

Without a budget, what the effort stands for is done, and of several results the best is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import onnx

from edgecnn.budget import Budget
from edgecnn.errors import InvalidValueError
from edgecnn.parity import Parity
from edgecnn.progress import Progress, silent
from edgecnn.quantize.effort_levels import DIRECT, LADDERS
from edgecnn.quantize.layer_sensitivity import LayerSensitivity, scanned_images
from edgecnn.quantize.quantized import Quantized
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.quantize.time_budget import TimeBudget
from edgecnn.registry import suggest

#: Of the multiply-accumulates that are int8 before, at least this share stays so in mixed precision: a
#: network that needs more float than that is better left in float.
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
    #: Empty where there was no choice.
    attempts: tuple[Attempt, ...] = ()
    #: None if no budget was given.
    met: bool | None = None
    #: Whether something more would have been tried, had there been time.
    out_of_time: bool = False

    @property
    def stopped(self) -> bool:
        """Whether anything was left out for want of time."""
        return self.out_of_time or self.quantized.stopped

    def to_json(self, budget: Budget) -> dict[str, Any]:
        """Return what the manifest keeps of the escalation."""
        result: dict[str, Any] = {}
        if self.attempts:
            result["attempts"] = [attempt.to_json() for attempt in self.attempts]
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
    trials = _Trials(judge, budget, progress, quantizer.time)
    tried: list[_Trial] = []
    for recipe in (LADDERS if budget.asks else DIRECT)[effort]:
        if tried and not trials.in_time(partial(quantizer.least_seconds, recipe)):
            return trials.outcome(max(tried, key=_Trial.rank), out_of_time=True)
        tried.append(trials.run(recipe.name, partial(quantizer, recipe)))
        if tried[-1].met:
            return trials.outcome(tried[-1])
    untrained = max(tried, key=_Trial.rank)
    if budget.asks and not trials.in_time():
        return trials.outcome(untrained, out_of_time=True)
    if finetune is not None:
        tried.append(trials.run(TRAINING, partial(finetune, untrained.quantized)))
        if tried[-1].met:
            return trials.outcome(tried[-1])
    best = max(tried, key=_Trial.rank)
    if budget.asks:
        if not trials.in_time(partial(quantizer.seconds_of, scanned_images(len(quantizer.macs)))):
            return trials.outcome(best, out_of_time=True)
        best = _mixed_precision(untrained.quantized, quantizer, scan, trials, progress) or best
    return trials.outcome(best, out_of_time=trials.left_out)


@dataclass(frozen=True)
class _Trial:
    """What one attempt gave; `met` is None without a budget."""

    quantized: Quantized
    verdict: Verdict
    met: bool | None

    def rank(self) -> tuple[float, float]:
        # Labelled images say what matters; else the ratio, which is less noisy than the agreement.
        return -(self.verdict.drop or 0.0), self.verdict.parity.sqnr_db


class _Trials:
    """Makes and judges one result after the other, and keeps the table of attempts."""

    def __init__(
        self, judge: Judge, budget: Budget, progress: Progress, time: TimeBudget | None = None
    ) -> None:
        self._judge, self._budget, self._progress, self._time = judge, budget, progress, time
        self._attempts: list[Attempt] = []
        #: Whether something was left out for want of time.
        self.left_out = False

    def run(self, name: str, make: Callable[[], Quantized]) -> _Trial:
        self._progress(name)
        quantized = make()
        self._progress(f"{name}: check")
        verdict = self._judge(quantized.model)
        met = self._budget.met(verdict.parity, verdict.drop) if self._budget.asks else None
        self._attempts.append(Attempt(name, verdict, quantized.int8_mac_share, met))
        return _Trial(quantized, verdict, met)

    def in_time(self, seconds: Callable[[], float] = float) -> bool:
        """Return whether there is time for something that takes so long at least."""
        if self._time is None or self._time.left > seconds():
            return True
        self.left_out = True
        return False

    def outcome(self, trial: _Trial, *, out_of_time: bool = False) -> Outcome:
        return Outcome(trial.quantized, trial.verdict, tuple(self._attempts), trial.met, out_of_time)


def _mixed_precision(
    best: Quantized, quantizer: Quantizer, scan: Scan, trials: _Trials, progress: Progress
) -> _Trial | None:
    """Return the result with the fewest of the most sensitive layers in float that meets the budget."""
    progress("sensitivity")
    order = [layer.node for layer in sorted(scan(best), key=lambda layer: layer.alone_db)]
    spent = np.cumsum([quantizer.macs.get(name, 0) for name in order])
    most = int(np.sum(spent <= (1 - LEAST_INT8_SHARE) * spent[-1:].sum()))

    def with_float(count: int) -> _Trial | None:
        name = f"{best.recipe.name}, {count} layer{'s' * (count != 1)} float"
        exclude = dict.fromkeys(order[:count], SENSITIVE)
        if not trials.in_time(partial(quantizer.least_seconds, best.recipe)):
            return None
        # Repaired anew: what the layers after a float one make up for is not the same.
        trial = trials.run(name, lambda: quantizer(best.recipe, exclude))
        return trial if trial.met else None

    return fewest(with_float, most)


T = TypeVar("T")


def fewest(attempt: Callable[[int], T | None], most: int) -> T | None:
    """Return what `attempt` gives for the least count from 1 to `most` that it does not give None for.

    Where one count is enough each larger one is taken to be. Counts are doubled until one is enough, then the
    gap to the last that was too few is halved: few are the likely answer, and attempts are dear.
    """
    too_few, enough, found = 0, 0, None
    for enough in _doubled(most):
        found = attempt(enough)
        if found is not None:
            break
        too_few = enough
    while found is not None and enough - too_few > 1:
        middle = (too_few + enough) // 2
        if (better := attempt(middle)) is None:
            too_few = middle
        else:
            enough, found = middle, better
    return found


def _doubled(most: int) -> Iterator[int]:
    """Yield 1, 2, 4 and so on below `most`, and `most` itself."""
    count = 1
    while count < most:
        yield count
        count *= 2
    if most >= 1:
        yield most
