"""Measure latency and throughput of model files, by layer too, and how near the machine's limit they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecnn.measure.latency.batch_sweep import BatchSweep, sweeps
from edgecnn.measure.latency.profile_engines import Latency, profile
from edgecnn.measure.layers.layer_times import LayerProfile, profile_layers
from edgecnn.measure.layers.roofline import Roofline, roofline
from edgecnn.measure.measure_options import ProfileRequest
from edgecnn.progress import Progress, silent
from edgecnn.record import Record
from edgecnn.verbs.engines import opened


@dataclass(frozen=True)
class Profiled(Record):
    """What was measured: for each model, and each batch of it, one latency, roofline and layer profile."""

    request: ProfileRequest
    #: Their engines are closed.
    latencies: list[Latency]
    rooflines: list[Roofline | None]
    layers: list[LayerProfile]
    #: What several batches tell; none of one batch.
    sweeps: list[BatchSweep]
    #: The model file of each latency, as it was given.
    paths: list[str]

    def results(self) -> list[dict[str, Any]]:
        """Return a row for each latency, with the keys that every edgecnn result uses."""
        rows = []
        for index, (item, path, roof) in enumerate(
            zip(self.latencies, self.paths, self.rooflines, strict=True)
        ):
            details = self.layers[index].to_json() if self.layers else {}
            rows.append(
                {**item.to_json(), "path": path, "roofline": roof.to_json() if roof else None, **details}
            )
        return rows

    def swept(self) -> list[dict[str, Any]]:
        """Return a row for each model that was measured with several batches."""
        typed = {id(item.engine): path for item, path in zip(self.latencies, self.paths, strict=True)}
        return [{**item.to_json(), "path": typed[id(item.best.engine)]} for item in self.sweeps]

    def to_json(self) -> dict[str, Any]:
        """Return the row of one measurement, or `results` of several, with `sweeps` of several batches."""
        results, sweeps_ = self.results(), self.swept()
        if len(results) == 1:
            return results[0]
        return {"results": results, **({"sweeps": sweeps_} if sweeps_ else {})}


def profile_models(request: ProfileRequest, progress: Progress = silent) -> Profiled:
    """Measure models in turns. Raises ArtifactError, EngineError, InvalidValueError."""
    several = request.batch is not None and len(request.batch) > 1
    with opened(request.models, request, progress) as engines:
        choice = request.inputs.choice()
        measured = profile(
            engines, batch=request.batch, seconds=request.seconds, progress=progress, choice=choice
        )
        layers = []
        if request.layers:
            layers = [
                profile_layers(
                    item.engine, batch=item.batch, seconds=request.seconds, progress=progress, choice=choice
                )
                for item in measured
            ]
    typed = {id(engine): model for engine, model in zip(engines, request.models, strict=True)}
    return Profiled(
        request,
        measured,
        [roofline(item) for item in measured],
        layers,
        sweeps(measured) if several else [],
        [typed[id(item.engine)] for item in measured],
    )
