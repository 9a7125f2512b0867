"""What is asked of quantization-aware training, with every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.compress.train.train_request import TrainingRun
from edgecnn.errors import InvalidValueError
from edgecnn.quantize.int8_options import Int8Form


@dataclass(frozen=True)
class QatRequest(TrainingRun, Int8Form):
    """One run, which writes an int8 ONNX file. `network` was trained on the classes of the data.

    Raises InvalidValueError for random weights, missing data, or an output that is no ONNX file.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output is None:
            object.__setattr__(self, "output", Path(f"{self.network.stem}-int8.onnx"))
        if self.output.suffix != ".onnx":
            raise InvalidValueError(
                f"an int8 file cannot be written as {self.output.name}", hint="name it FILE.onnx"
            )
        if self.network.origin == "random":
            raise InvalidValueError(
                f"{self.network.name} has random weights", hint="train it first, without `qat`"
            )
        if self.data is None:
            raise InvalidValueError("there is nothing to learn from", hint="give `data`")
