"""Class scores that are averaged over several views of an image, and over several networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data.dataset import Images
from edgecnn.data.views import Views
from edgecnn.errors import EngineError
from edgecnn.measure.accuracy.engine_outputs import Given
from edgecnn.measure.accuracy.infer_images import sweep
from edgecnn.measure.accuracy.reliability import log_probabilities
from edgecnn.measure.real_inputs import inputs_of_frames
from edgecnn.parity import Output
from edgecnn.progress import Progress, silent
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_files import open_image
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.tasks.classification import no_scores

#: The views of an image by each preprocessing, (views, H, W, C) uint8.
_Views = dict[Preprocessing, npt.NDArray[np.uint8]]


def of_views(
    groups: Sequence[Sequence[Engine]],
    images: Images,
    views: Views,
    *,
    batch: int,
    workers: int,
    progress: Progress = silent,
    constants: Mapping[str, Sequence[float]] | None = None,
) -> Given:
    """Return the logarithm of the mean class probabilities, (N, classes), of each group of engines.

    The mean is over the views and over the engines of a group (Krizhevsky et al. 2012, section 4.1). Raises
    DataError if too many images cannot be read, InvalidValueError for inputs that the views cannot fill.
    """
    preprocessings = {engine.preprocessing for group in groups for engine in group}
    for preprocessing in preprocessings:
        views.demand_fit(preprocessing)

    def read(image: Any) -> _Views:
        picture = open_image(image)
        return {item: views.frames(picture, item) for item in preprocessings}

    def infer(found: list[_Views], rows: list[int]) -> list[npt.NDArray[np.float32]]:
        return [_averaged(group, found, constants) for group in groups]

    done = sweep(images, read, infer, batch=batch, workers=workers, progress=progress)
    columns = zip(*done.results, strict=True)
    outputs = [[Output("scores", np.concatenate(column))] for column in columns]
    return Given(outputs, done.rows, done.skipped, done.seconds)


def _averaged(
    group: Sequence[Engine], found: list[_Views], constants: Mapping[str, Sequence[float]] | None
) -> npt.NDArray[np.float32]:
    """Return log-probabilities of a batch, (images, classes)."""
    total: Any = 0.0
    count = 0
    for engine in group:
        batches = np.stack([views[engine.preprocessing] for views in found], axis=1)
        for frames in batches:
            outputs = engine.rows(inputs_of_frames(engine, frames, constants))
            scores = engine.task.class_scores(outputs)
            if scores is None:
                raise no_scores(engine.outputs, engine.path.name)
            if not np.isfinite(scores).all():
                raise EngineError(
                    f"{engine.path.name} gives logits that are not finite",
                    hint="a value left its number format's range",
                )
            total = total + np.exp(log_probabilities(scores))
            count += 1
    return np.log(np.maximum(total / count, np.finfo(np.float32).tiny)).astype(np.float32)
