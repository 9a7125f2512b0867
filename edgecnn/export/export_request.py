"""What is asked of an export, with every default resolved and every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import request_json
from edgecnn.errors import InvalidValueError
from edgecnn.options import group, option
from edgecnn.quantize.int8_options import Int8Options
from edgecnn.zoo.spec import NetworkSpec

PRECISIONS = ("float32", "float16", "int8")
#: Old enough for the parsers on boards, new enough for per-channel Q/DQ.
DEFAULT_OPSET = 18
OPSETS = range(18, 24)


@dataclass(frozen=True)
class ExportRequest(Int8Options):
    """One export. Raises UnknownNameError or InvalidValueError when made with values that cannot work."""

    network: NetworkSpec = group(NetworkSpec)
    output: Path = option(None, "File to write.", unset="NAME.onnx", path="write", hidden=("recipe",))
    precision: str = option(
        "float32",
        "Precision: float32, float16 or int8.",
        choices=PRECISIONS,
        flags={
            "int8": ("int8", "Quantize, with ranges from real images."),
            "float16": ("fp16", "Compute in float16."),
        },
    )
    batch: int | None = option(
        None, "Number of images per inference, fixed.", unset="any", least=1, most=1024
    )
    opset: int = option(DEFAULT_OPSET, "ONNX operator set.", least=OPSETS.start, most=OPSETS.stop - 1)
    #: "float32": normalised (N, C, H, W). "uint8": raw (N, H, W, C) frames.
    input: str = option(
        "float32",
        "Type of the input: uint8 for raw NHWC frames, normalised inside the graph.",
        choices=("float32", "uint8"),
    )
    nms: bool = option(False, "Decode boxes and suppress those that overlap inside the graph, of a detector.")
    data: str | None = option(None, "Data set it was trained with, instead of `calib`: test images check.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output is None:
            object.__setattr__(self, "output", Path(f"{self.network.stem}.onnx"))
        if self.calib is not None and self.data is not None:
            raise InvalidValueError(
                "a folder and a data set cannot both calibrate", hint="give `calib` or `data`"
            )
        if self.precision != "int8" and (self.force or self.exclude or self.only):
            raise InvalidValueError("`force`, `exclude` and `only` belong to `int8`", hint="leave them out")
        if self.precision != "int8" and self.time is not None:
            raise InvalidValueError("`time` belongs to `int8`", hint="leave it out")
        if self.precision != "int8" and self.budget.asks:
            raise InvalidValueError(
                "`min_sqnr` and `min_agreement` are budgets of `int8`", hint="leave them out"
            )

        row = self.network.architecture if self.network.in_catalogue else None
        if self.nms and (row is None or row.decoder is None):
            raise InvalidValueError(
                f"`nms` is for detectors of the catalogue, and {self.network.stem} is none",
                hint="leave it out; `edgecnn models` lists them",
            )

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage keeps, to do it again."""
        return {"network": self.network.asked(), **request_json.to_json(self, "output", "network")}

    def effort_for(self, origin: str) -> str:
        """Return how much is tried for the accuracy of an int8 file with weights of this origin."""
        return self.effort or ("fast" if origin == "random" else "default")
