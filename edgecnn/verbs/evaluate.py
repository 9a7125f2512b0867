"""Measure the accuracy of a model file on labelled images, and where it differs from a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecnn.data.folder import LabelledImages
from edgecnn.data.frame_cache import FrameCache
from edgecnn.data.sample_files import holds_samples, list_samples
from edgecnn.data.trained_on import test_images
from edgecnn.data.views import Views
from edgecnn.errors import InvalidValueError
from edgecnn.measure.accuracy.evaluate import Accuracy, evaluate
from edgecnn.measure.accuracy.measure_outputs import measure_outputs
from edgecnn.measure.accuracy.measured_outputs import MeasuredOutputs
from edgecnn.measure.accuracy.preprocessing_parity import PreprocessingParity, compare_preprocessing
from edgecnn.measure.measure_options import EvalRequest
from edgecnn.progress import Progress, silent
from edgecnn.record import Record
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_folder import demand_images, list_folder
from edgecnn.tasks.metric import Metric, users
from edgecnn.verbs.engines import opened


@dataclass(frozen=True)
class Evaluated(Record):
    """What a model answered, and what it was asked."""

    request: EvalRequest
    #: The engine, which is closed.
    engine: Engine
    #: The images; sample files where it takes no images.
    dataset: LabelledImages | Sequence[Path]
    #: What was measured: of class scores how many are right, of other outputs what they keep of a reference.
    accuracy: Accuracy | MeasuredOutputs
    parities: tuple[PreprocessingParity, ...] = ()
    cache: FrameCache | None = None
    #: What class probabilities were averaged over; such figures are not those of the file alone.
    views: Views = field(default_factory=Views)

    @property
    def is_plain(self) -> bool:
        """Whether the figures are of the one file, on one view of each image."""
        return self.views.is_plain and not self.request.ensemble

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        return {
            **self.accuracy.to_json(),
            "path": str(self.request.model),
            "preprocessing_parity": [item.to_json() for item in self.parities] or None,
        }


def evaluate_model(request: EvalRequest, progress: Progress = silent) -> Evaluated:
    """Evaluate a model on the test images of a data set; one thread each, every core a batch of its own.

    A network without class scores is measured on images of any folder, or on samples from files, against a
    reference or by a metric. Raises DataError, ArtifactError, EngineError, InvalidValueError, and what
    building an engine raises.
    """
    workers = request.threads or None
    if request.cache and (request.crops > 1 or request.scales or request.mirror or request.ensemble):
        raise InvalidValueError("`cache` keeps one view of an image", hint="leave `cache` out")
    cache = FrameCache() if request.cache else None
    metric = None if request.metric is None else users(request.metric)
    views = Views(request.crops, request.scales or (), request.mirror)
    models = (request.model, *request.ensemble, *([request.reference] if request.reference else []))
    with opened(models, request, progress, threads=1) as (engine, *others):
        other = others.pop() if request.reference else None
        if other is not None and engine.is_prepared and not other.is_prepared:
            # A file that does not say gets what the one that was made from it does.
            other.prepare_by(engine.preprocessing)
        how: dict[str, Any] = {
            "reference": other,
            "metric": metric,
            "batch": request.batch,
            "workers": workers,
            "cache": cache,
            "constants": request.inputs.constants,
            "progress": progress,
        }
        averaged = not views.is_plain or bool(others)
        dataset = _dataset(engine, request, metric, progress)
        labelled = isinstance(dataset, LabelledImages) and len(dataset.labels) > 0
        accuracy: Accuracy | MeasuredOutputs
        if isinstance(dataset, LabelledImages) and labelled and _answers_classes(engine):
            accuracy = evaluate(engine, dataset, views=views, ensemble=others, **how)
        elif averaged:
            raise InvalidValueError(
                f"{request.model.name} has no class probabilities on labelled images that could be averaged",
                hint="`crops`, `scales`, `mirror` and `ensemble` are for classifiers",
            )
        else:
            how["metric"] = metric or (engine.task.metric if labelled else None)
            accuracy = measure_outputs(engine, dataset, request.data, **how)
        parities: tuple[PreprocessingParity, ...] = ()
        if request.preprocessing_parity and isinstance(dataset, LabelledImages):
            progress("comparing the preprocessing")
            parities, _ = compare_preprocessing(engine, dataset.images, batch=request.batch, workers=workers)
        return Evaluated(request, engine, dataset, accuracy, parities, cache, views)


def _dataset(
    engine: Engine, request: EvalRequest, metric: Metric | None, progress: Progress
) -> LabelledImages | Sequence[Path]:
    """Return what the model is asked: labelled images, images without labels, or samples from files."""
    if holds_samples(request.data):
        return list_samples(request.data)
    unlabelled = request.reference is not None and _holds_images_alone(request.data)
    if _answers_classes(engine) and not unlabelled:
        return test_images(engine.manifest, request.data, engine.classes, progress)
    task = engine.task
    if metric is None and task.metric is not None and task.metric.needs_views and not unlabelled:
        task.demand_answers(engine.outputs, engine.path.name)
        return test_images(engine.manifest, request.data, engine.classes or None, progress, task=task.name)
    if metric is not None or not Path(request.data).is_dir():
        return test_images(engine.manifest, request.data, None, progress, task=None)
    # A reference's outputs need no labels: any images will do.
    found = demand_images(list_folder(request.data))
    return LabelledImages(request.data, found.images, [], tuple(found.notes))


def _answers_classes(engine: Engine) -> bool:
    return engine.task.answers_classes(engine.outputs)


def _holds_images_alone(data: str) -> bool:
    """Return whether something is a folder without class folders."""
    return Path(data).is_dir() and not any(item.is_dir() for item in Path(data).iterdir())
