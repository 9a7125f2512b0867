"""What labelled images measure of a model, beside the float model that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from edgecnn.artifact import Manifest
from edgecnn.data.sample_files import holds_samples, list_samples, read_labels, read_samples
from edgecnn.data.trained_on import test_images
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.metric_option import UserFunction
from edgecnn.quantize.graph.index import input_specs
from edgecnn.quantize.reference import Network, task_of_network
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import open_image
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.sample_axis import BATCH
from edgecnn.runtime.samples import zeros
from edgecnn.tasks.metric import Metric, users
from edgecnn.tasks.view import View


class Labelled:
    """A metric of models on labelled images, against the float model's: the task's own, or the user's."""

    def __init__(
        self,
        inputs: np.ndarray,
        labels: Any,
        model: onnx.ModelProto,
        metric: Metric,
        *,
        as_they_are: bool,
        views: Sequence[View] | None = None,
    ) -> None:
        """Measure the float `model`; `as_they_are`: by the outputs that an application reads.

        `views` say where the pictures lie in the inputs.
        """
        self._inputs, self._labels, self._views, self._metric = inputs, labels, views, metric
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
        task = task_of_network(manifest, outputs, preprocessing.size if preprocessing else None)
        chosen = users(metric) if metric is not None else task.metric
        # A decoder reads what an application reads, not what is compared.
        as_they_are = metric is not None or (chosen is not None and chosen.needs_views)
        if chosen is None:
            raise InvalidValueError(
                "no output of the network is class scores, so there is no top-1 to keep",
                hint="give `min_sqnr` in place of `max_drop`, or a `metric` of your own",
            )
        if holds_samples(data):
            files, specs = list_samples(data), input_specs(model)
            inputs, labels = read_samples(files, specs), read_labels(files, specs)
            return cls(inputs, labels, model, chosen, as_they_are=as_they_are)
        if preprocessing is None:
            raise InvalidValueError(
                f"the network takes no images, and {data} holds no samples",
                hint="`data` FOLDER of .npz files",
            )
        # Of a score, the first class is below its threshold and the second above.
        known = task.classes([item.spec for item in outputs])
        classes = None if metric is not None else known or (None if as_they_are else 2)
        found = test_images(manifest, data, classes, task=None if metric is not None else task.name)
        if not len(found.images):
            raise DataError(f"{data} holds no images", hint="expected: FOLDER/CLASS/image.jpg")
        frames, views = [], []
        for row in range(len(found.images)):
            picture = open_image(found.images[row])
            frames.append(prepare.frame(preprocessing, picture))
            views.append(prepare.view(preprocessing, Size(picture.height, picture.width)))
        inputs, labels = (
            prepare.normalize(preprocessing, np.stack(frames)),
            found.labels_of(range(len(frames))),
        )
        return cls(inputs, labels, model, chosen, as_they_are=as_they_are, views=views)

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self._inputs)

    def _measured(self, model: onnx.ModelProto) -> float:
        network = self._open(model)
        if not self._metric.needs_views:
            return self._metric(network(self._inputs), self._labels)
        # Outputs of many images may be more than memory holds.
        spans = [slice(first, first + BATCH) for first in range(0, len(self._inputs), BATCH)]
        return self._metric.figure(
            [
                self._metric.part(
                    network(self._inputs[span]), self._labels[span], self._views and self._views[span]
                )
                for span in spans
            ]
        )

    def drop(self, model: onnx.ModelProto) -> float:
        """Return the loss in the metric's unit: of top-1, points."""
        return self.reference - self._measured(model)
