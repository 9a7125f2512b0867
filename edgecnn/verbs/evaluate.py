"""Measure the accuracy of a model file on labelled images, and where it differs from a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgecnn.data.folder import LabelledImages
from edgecnn.data.frame_cache import FrameCache
from edgecnn.data.trained_on import test_images
from edgecnn.measure.accuracy.evaluate import Accuracy, evaluate
from edgecnn.measure.accuracy.preprocessing_parity import PreprocessingParity, compare_preprocessing
from edgecnn.measure.measure_options import EvalRequest
from edgecnn.progress import Progress, silent
from edgecnn.record import Record
from edgecnn.runtime.engine import Engine
from edgecnn.verbs.engines import opened


@dataclass(frozen=True)
class Evaluated(Record):
    """What a model answered, and what it was asked."""

    request: EvalRequest
    #: The engine, which is closed.
    engine: Engine
    dataset: LabelledImages
    accuracy: Accuracy
    parities: tuple[PreprocessingParity, ...] = ()
    cache: FrameCache | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        return {
            **self.accuracy.to_json(),
            "path": str(self.request.model),
            "preprocessing_parity": [item.to_json() for item in self.parities] or None,
        }


def evaluate_model(request: EvalRequest, progress: Progress = silent) -> Evaluated:
    """Evaluate a model on the test images of a data set; one thread each, every core a batch of its own.

    Raises DataError, ArtifactError, EngineError, and what building an engine raises.
    """
    workers = request.threads or None
    cache = FrameCache() if request.cache else None
    models = (request.model, *([request.reference] if request.reference else []))
    with opened(models, request, progress, threads=1) as (engine, *other):
        engine.demand_class_scores()
        dataset = test_images(engine.manifest, request.data, engine.classes, progress)
        accuracy = evaluate(
            engine,
            dataset,
            reference=other[0] if other else None,
            batch=request.batch,
            workers=workers,
            cache=cache,
            progress=progress,
        )
        parities: tuple[PreprocessingParity, ...] = ()
        if request.preprocessing_parity:
            progress("comparing the preprocessing")
            parities, _ = compare_preprocessing(engine, dataset.images, batch=request.batch, workers=workers)
        return Evaluated(request, engine, dataset, accuracy, parities, cache)
