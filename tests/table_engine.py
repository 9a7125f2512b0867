"""An engine that reads an image's number off its first pixel and looks its logits up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from edgecnn.artifact import TensorSpec
from edgecnn.data.folder import LabelledImages
from edgecnn.runtime import Preprocessing
from edgecnn.runtime.engine import Engine


class TableEngine(Engine):
    backend, device, threads = "onnxruntime", "cpu", 1

    def __init__(self, path: Path, table: np.ndarray, batch: int | str = "batch") -> None:
        path.write_bytes(b"stub")
        image = TensorSpec("input", (batch, 4, 4, 3), "uint8", "NHWC")
        super().__init__(path, None, [image], [TensorSpec("y", (batch, table.shape[1]), "float32", "NC")])
        self._preprocessing = Preprocessing(4, crop=1.0)
        self.table = table.astype(np.float32)
        #: Sizes of the batches that came.
        self.seen: list[int] = []

    def _infer(self, inputs):
        self.seen.append(len(inputs[0]))
        return [self.table[inputs[0][:, 0, 0, 0]]]


def numbered(labels) -> LabelledImages:
    """Images that show their number, 0 to 255."""
    pictures = [Image.new("RGB", (4, 4), (index, 0, 0)) for index in range(len(labels))]
    return LabelledImages("numbers", pictures, [int(label) for label in labels])
