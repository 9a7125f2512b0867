"""What is asked of `edgecnn describe`, with every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.data.input_options import InputOptions
from edgecnn.decoder_option import DecoderOption
from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, group, option
from edgecnn.runtime.preparation_options import PreparationOptions
from edgecnn.runtime.preprocessing import Preprocessing


@dataclass(frozen=True)
class DescribeRequest(Request):
    """What is to be said of an ONNX file. Raises InvalidValueError or UnknownNameError."""

    source: Path = option(help="ONNX file, of any origin.", name="model", path="read", argument=True)
    output: Path | None = option(None, "File to write.", unset="the file itself", path="write")
    labels: str | None = option(
        None, "Names of the classes: a file with one a line, or: imagenet, digits.", path="read"
    )
    preparation: PreparationOptions = group(PreparationOptions)
    inputs: InputOptions = group(InputOptions)
    decoding: DecoderOption = group(DecoderOption)
    #: In place of what the file says itself.
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        said = (self.labels, self.preprocessing, self.decoding.settings)
        if not (self.preparation.says or self.inputs.input) and said == (None, None, None):
            raise InvalidValueError(
                "nothing is said of the file",
                hint="`prepare` NAME, `mean` and `std`, `labels` FILE, `input` NAME=VALUE, or `decoder` NAME",
            )
