"""What is asked of `edgecnn quantize`, with every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.data.input_options import InputOptions
from edgecnn.decoder_option import DecoderOption
from edgecnn.errors import InvalidValueError
from edgecnn.metric_option import METRIC, UserFunction
from edgecnn.options import Request, group, option
from edgecnn.quantize.int8_options import Int8Options
from edgecnn.runtime.preparation_options import PreparationOptions
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.targets import target


@dataclass(frozen=True)
class QuantizeRequest(Int8Options):
    """What is asked. Raises InvalidValueError or UnknownNameError for values that cannot work."""

    source: Path = option(help="Float ONNX file, of any origin.", name="model", path="read", argument=True)
    output: Path = option(help="File to write.", path="write", hidden=("recipe",))
    precision: str = option(
        "int8",
        "Precision: int8 or float16.",
        choices=("int8", "float16"),
        flags={"float16": ("fp16", "Compute in float16 instead of int8.")},
    )
    check_images: int = option(64, "Most images that check.", least=2)
    data: str | None = option(
        None, "Labelled images for `max_drop`: a folder of classes, boxes or masks, or a data set by name."
    )
    metric: str | UserFunction | None = option(
        None, f"{METRIC.removesuffix('.')}; in place of the task's for `max_drop`."
    )
    inputs: InputOptions = group(InputOptions)
    train: str | None = option(None, "Labelled images to train int8 on, if no repair is enough.")
    train_epochs: int = option(10, "Passes over them.", least=1)
    preparation: PreparationOptions = group(PreparationOptions)
    decoding: DecoderOption = group(DecoderOption)
    #: In place of what the file's manifest says; None for that.
    preprocessing: Preprocessing | None = None
    yes: bool = option(False, "Assume ImageNet's mean and deviation, though the file seems to want others.")
    sensitivity: bool = option(False, "Measure what each layer costs.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output.resolve() == self.source.resolve():
            raise InvalidValueError(
                f"{self.output} would replace the float file that it is made from", hint="`output` int8.onnx"
            )
        if (self.budget.max_drop is None) != (self.data is None):
            raise InvalidValueError(
                "`max_drop` and `data` belong together", hint="`max_drop` 1 `data` FOLDER_OF_CLASS_FOLDERS"
            )
        if self.metric is not None and self.data is None:
            raise InvalidValueError("`metric` needs labelled images", hint="`data` FOLDER `max_drop` 0.5")
        if self.precision != "int8" and (self.train or self.budget.asks or self.effort or self.sensitivity):
            raise InvalidValueError(
                "budgets, `effort`, `train` and `sensitivity` belong to int8", hint="leave them out"
            )
        if self.precision != "int8" and (self.force or self.exclude or self.only):
            raise InvalidValueError("`force`, `exclude` and `only` belong to int8", hint="leave them out")
        if self.precision != "int8" and self.time is not None:
            raise InvalidValueError("`time` belongs to int8", hint="leave it out")

    @property
    def resolved_effort(self) -> str:
        """How much is tried for the accuracy of an int8 file."""
        return self.effort or "default"


@dataclass(frozen=True)
class RequantizeRequest(Request):
    """An int8 file of ours, for another target. Raises UnknownNameError for a target that is none."""

    #: An int8 file of edgecnn.
    source: Path
    output: Path
    target: str

    def __post_init__(self) -> None:
        super().__post_init__()
        target(self.target)
