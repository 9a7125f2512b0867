"""How many labelled images a model gets right, beside the float model that it was made from."""

from __future__ import annotations

import numpy as np
import onnx

from edgecnn.artifact import Manifest
from edgecnn.data.trained_on import test_images
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.parity import SCORE, VALUES, Output
from edgecnn.quantize.reference import Network
from edgecnn.runtime.preprocessing import Preprocessing


class Labelled:
    """Top-1 accuracy of models on labelled images, against the float model's."""

    def __init__(self, inputs: np.ndarray, classes: np.ndarray, model: onnx.ModelProto) -> None:
        self._inputs, self._classes = inputs, classes
        self._float = self._top1(model)

    @classmethod
    def open(
        cls, data: str, preprocessing: Preprocessing, manifest: Manifest, model: onnx.ModelProto
    ) -> Labelled:
        """Open a folder of class folders, or a data set, for a float model.

        Of a network that gives one score, the first class is below its threshold and the second above. Raises
        InvalidValueError if the network decides nothing, DataError for data that does not fit it.
        """
        shape = [dim.dim_value or 1 for dim in model.graph.input[0].type.tensor_type.shape.dim]
        decides = _decides(Network(model)(np.zeros(shape, np.float32)))
        if decides is None:
            raise InvalidValueError(
                "no output of the network is class scores, so there is no top-1 to keep",
                hint="give `min_sqnr` in place of `max_drop`",
            )
        count = 2 if decides.kind == SCORE else decides.values[0].size
        found = test_images(manifest, data, count)
        if not found.labels:
            raise DataError(f"{data} holds no images", hint="expected: FOLDER/CLASS/image.jpg")
        return cls(
            preprocessing.batch(found.images[row] for row in range(len(found.images))),
            np.array(found.labels),
            model,
        )

    def _top1(self, model: onnx.ModelProto) -> float:
        output = _decides(Network(model)(self._inputs))
        if output is None:
            raise ValueError("what decided once goes on doing so")
        return float(np.mean(output.decisions() == self._classes))

    def drop(self, model: onnx.ModelProto) -> float:
        """Return the loss of top-1 in points."""
        return 100 * (self._float - self._top1(model))


def _decides(outputs: list[Output]) -> Output | None:
    """Return the first output that decides something."""
    return next((item for item in outputs if item.kind != VALUES), None)
