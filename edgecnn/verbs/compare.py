"""Say how many times as fast models are as the first of them, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecnn.errors import InvalidValueError
from edgecnn.measure.latency.compare_engines import Compared, compare
from edgecnn.measure.latency.regression_gate import compare_results
from edgecnn.measure.measure_options import CompareRequest
from edgecnn.progress import Progress, silent
from edgecnn.record import Record
from edgecnn.verbs.engines import loaders


@dataclass(frozen=True)
class Comparison(Record):
    """How models relate to the first of them."""

    request: CompareRequest
    #: As JSON: a row for each model.
    found: dict[str, Any]
    #: What was measured; None of two results that were stored.
    measured: Compared | None = None

    @property
    def met(self) -> bool | None:
        """Whether the gate was passed; None where none was asked for."""
        if self.request.fail_above is None:
            return None
        rows = [row for row in self.found["results"] if row["ratio"]]
        return all(row["ratio"]["value"] <= self.request.fail_above for row in rows)

    def to_json(self) -> dict[str, Any]:
        """Return `results`, a row for each model, and the gate."""
        gate = {"fail_above": self.request.fail_above, "met": self.met}
        return {**self.found, **({} if self.met is None else {"gate": gate})}


def compare_models(request: CompareRequest, progress: Progress = silent) -> Comparison:
    """Measure model files in short turns, or compare two results that `profile` printed as JSON.

    Raises InvalidValueError for fewer than two or a mixture, ConditionsError for conditions that are unlike,
    and what opening files raises.
    """
    models = request.models
    if len(models) < 2:
        raise InvalidValueError("comparing needs two files at least", hint="the baseline first")
    stored = [name.endswith(".json") for name in models]
    if any(stored):
        if not all(stored) or len(models) != 2:
            raise InvalidValueError(
                "model files and results cannot be mixed", hint="NEW.json BASELINE.json, or model files"
            )
        return Comparison(request, compare_results(*models, force=request.force))
    measured = compare(
        loaders(models, request, progress),
        batch=request.batch,
        seconds=request.seconds,
        force=request.force,
        progress=progress,
        choice=request.inputs.choice(),
    )
    found = measured.to_json()
    for row, model in zip(found["results"], models, strict=True):
        row["path"] = model
    found["baseline"] = models[0]
    return Comparison(request, found, measured)
