"""What labelled images measure of a model, beside the float model that it was made from."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from edgecnn.artifact import Manifest
from edgecnn.data.sample_files import holds_samples, list_samples, read_labels, read_samples
from edgecnn.data.trained_on import test_images
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.metric_option import UserFunction
from edgecnn.quantize.graph.index import input_specs
from edgecnn.quantize.reference import Network
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.samples import zeros
from edgecnn.tasks import TASKS, task_of_values
from edgecnn.tasks.metric import Metric, users


class Labelled:
    """A metric of models on labelled images, against the float model's: the task's own, or the user's."""

    def __init__(
        self, inputs: np.ndarray, labels: Any, model: onnx.ModelProto, metric: Metric, *, as_they_are: bool
    ) -> None:
        """Measure the float `model`; `as_they_are`: by the outputs that an application reads."""
        self._inputs, self._labels, self._metric = inputs, labels, metric
        self._open = Network.of_outputs if as_they_are else Network
        self.reference = self._measured(model)

    @classmethod
    def open(
        cls,
        data: str,
        preprocessing: Preprocessing | None,
        manifest: Manifest,
        model: onnx.ModelProto,
        metric: str | UserFunction | None = None,
    ) -> Labelled:
        """Open a folder of class folders, a data set, or a folder of .npz samples for a float model.

        `metric` is the user's; without one it is the task's. Raises InvalidValueError if the task has none,
        DataError for data that does not fit the network.
        """
        outputs = Network(model)(zeros(input_specs(model)))
        task = TASKS.get(manifest.task) if manifest.task else task_of_values(outputs)
        chosen = users(metric) if metric is not None else task.metric
        if chosen is None:
            raise InvalidValueError(
                "no output of the network is class scores, so there is no top-1 to keep",
                hint="give `min_sqnr` in place of `max_drop`, or a `metric` of your own",
            )
        if holds_samples(data):
            files, specs = list_samples(data), input_specs(model)
            inputs, labels = read_samples(files, specs), read_labels(files, specs)
            return cls(inputs, labels, model, chosen, as_they_are=metric is not None)
        if preprocessing is None:
            raise InvalidValueError(
                f"the network takes no images, and {data} holds no samples",
                hint="`data` FOLDER of .npz files",
            )
        # Of a score, the first class is below its threshold and the second above.
        classes = None if metric is not None else task.classes([item.spec for item in outputs]) or 2
        found = test_images(manifest, data, classes, task=None if metric is not None else task.name)
        if not len(found.images):
            raise DataError(f"{data} holds no images", hint="expected: FOLDER/CLASS/image.jpg")
        return cls(
            prepare.batch(preprocessing, (found.images[row] for row in range(len(found.images)))),
            found.labels_of(range(len(found.images))),
            model,
            chosen,
            as_they_are=metric is not None,
        )

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self._inputs)

    def _measured(self, model: onnx.ModelProto) -> float:
        return self._metric(self._open(model)(self._inputs), self._labels)

    def drop(self, model: onnx.ModelProto) -> float:
        """Return the loss in the metric's unit: of top-1, points."""
        return self.reference - self._measured(model)
