"""What is asked of an export, with every default resolved and every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecnn import asked
from edgecnn.budget import Budget
from edgecnn.errors import InvalidValueError
from edgecnn.registry import suggest
from edgecnn.targets import Target, target
from edgecnn.zoo.spec import NetworkSpec

PRECISIONS = ("float32", "float16", "int8")
#: Names of `quantize.ranges.METHODS`, which cannot be asked before onnx is known to be installed.
RANGE_METHODS = ("mse", "entropy", "percentile", "moving_average", "minmax")
#: Names of `quantize.recipes.LADDERS`.
EFFORTS = ("fast", "default", "best")
#: Old enough for the parsers on boards, new enough for per-channel Q/DQ.
DEFAULT_OPSET = 18
OPSETS = range(18, 24)


@dataclass(frozen=True)
class ExportRequest:
    """One export. Raises UnknownNameError or InvalidValueError when made with values that cannot work."""

    network: NetworkSpec
    output: Path
    precision: str = "float32"
    target: str = "portable"
    #: Images per inference; None for any number.
    batch: int | None = None
    opset: int = DEFAULT_OPSET
    #: "float32": normalised (N, C, H, W). "uint8": raw (N, H, W, C) frames.
    input: str = "float32"
    #: Folder of calibration images; None for the built-in ones.
    calib: Path | None = None
    #: Data set that the network was trained with, instead: training images calibrate, test images check.
    data: str | None = None
    #: At most this many images calibrate.
    calib_images: int = 64
    ranges: str = "mse"
    #: "fast", "default" or "best"; None for "default", or "fast" where the weights are random anyway.
    effort: str | None = None
    #: What an int8 file must keep of PyTorch's output.
    budget: Budget = field(default_factory=Budget)
    #: Of the images.
    seed: int = 0
    #: Whether int8 that is below the floor is taken as it is.
    force: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("precision", self.precision, PRECISIONS),
            ("range method", self.ranges, RANGE_METHODS),
            ("input", self.input, ("float32", "uint8")),
            ("effort", self.effort, EFFORTS),
        ):
            if value is not None and value not in known:
                raise InvalidValueError(f"unknown {what} {value!r}", hint=suggest(value, list(known)))
        if self.batch is not None and not 1 <= self.batch <= 1024:
            raise InvalidValueError(f"a batch of {self.batch} cannot be used", hint="1 to 1024 images")
        if self.opset not in OPSETS:
            raise InvalidValueError(
                f"opset {self.opset} cannot be written",
                hint=f"{OPSETS.start} to {OPSETS.stop - 1}; {DEFAULT_OPSET} is read by every supported board",
            )
        if self.calib is not None and self.data is not None:
            raise InvalidValueError(
                "a folder and a data set cannot both calibrate", hint="give --calib or --data"
            )
        if self.calib_images < 1:
            raise InvalidValueError(f"{self.calib_images} images cannot calibrate", hint="give at least 1")
        if not 0 <= self.seed < 2**63:
            raise InvalidValueError(f"seed {self.seed} cannot be used", hint="0 or a positive number")
        target(self.target)

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage keeps, to do it again: of a checkpoint the name, not the folder."""
        values = asked.to_json(self, "output")
        values["network"]["name"] = Path(self.network.name).name
        return values

    @property
    def resolved_target(self) -> Target:
        """Row of the table of targets."""
        return target(self.target)

    @property
    def resolved_effort(self) -> str:
        """How much is tried for the accuracy of an int8 file."""
        return self.effort or ("fast" if self.network.origin == "random" else "default")
