"""Measure a network whose outputs are no class scores: by its task's metric, the user's, or a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecnn.data.folder import LabelledImages, TrainingImages
from edgecnn.data.frame_cache import FrameCache
from edgecnn.errors import InvalidValueError
from edgecnn.measure.accuracy import measured_parts, worst_sheet
from edgecnn.measure.accuracy.engine_outputs import Work
from edgecnn.measure.accuracy.evaluate import batch_for
from edgecnn.measure.accuracy.measured_outputs import Figure, MeasuredOutputs, parity_of
from edgecnn.measure.accuracy.measured_parts import Measured
from edgecnn.measure.conditions.record_conditions import Watch
from edgecnn.operating_system import cores
from edgecnn.progress import Progress, silent
from edgecnn.runtime import labels as label_sets
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.sample_axis import BATCH
from edgecnn.tasks.metric import Metric


def measure_outputs(
    engine: Engine,
    dataset: LabelledImages | Sequence[Path],
    data: str,
    *,
    reference: Engine | None = None,
    metric: Metric | None = None,
    batch: int = BATCH,
    workers: int | None = None,
    cache: FrameCache | None = None,
    progress: Progress = silent,
    constants: Mapping[str, Sequence[float]] | None = None,
) -> MeasuredOutputs:
    """Measure a network of any outputs on images, or on samples from files, against a reference or labels.

    Raises as `evaluate` does, and InvalidValueError where there is neither.
    """
    if reference is None and metric is None:
        raise InvalidValueError(
            f"{engine.path.name} gives no class scores, so that labels alone say nothing of it",
            hint="`reference` FLOAT.onnx compares its outputs; `metric` FILE.py:FUNCTION measures them",
        )
    engines = [engine, *([reference] if reference is not None else [])]
    size, workers = batch_for(engines, batch), workers or len(cores())
    with Watch() as watch:
        if isinstance(dataset, LabelledImages):
            work = Work(engines, cache, constants)
            given = measured_parts.of_images(
                work, dataset, metric, batch=size, workers=workers, progress=progress
            )
        else:
            given = measured_parts.of_samples(engines, dataset, metric)
    conditions = {**watch.conditions(engine, size).to_json(), "input": data, "workers": workers}
    return MeasuredOutputs(
        engine.path,
        data,
        len(given.rows),
        given.seconds,
        conditions,
        parity_of(engines, given.outputs) if reference is not None else None,
        reference.path if reference is not None else None,
        None if metric is None or given.parts is None else Figure.of(metric, given.parts),
        None if metric is None or given.parts is None else metric.details(given.parts[0], _names(engine)),
        dataset.training if isinstance(dataset, LabelledImages) else TrainingImages(),
        given.skipped,
        worst_sheet.worst(engine.task, given),
        (*(dataset.notes if isinstance(dataset, LabelledImages) else ()), *_notes(given, reference)),
    )


def _notes(given: Measured, reference: Engine | None) -> list[str]:
    if reference is None or given.compared >= len(given.rows):
        return []
    return [f"outputs were compared with the reference's on the first {given.compared} of {len(given.rows)}"]


def _names(engine: Engine) -> Sequence[str]:
    """Return the names of the classes, as far as they are known."""
    known = engine.manifest.labels if engine.manifest else None
    return label_sets.names(known, engine.classes or label_sets.count(known) or 0)
