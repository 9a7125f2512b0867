"""What is asked of `edgecnn quantize`, with every value checked before work begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgecnn.budget import Budget
from edgecnn.errors import InvalidValueError
from edgecnn.quantize.efforts import LADDERS
from edgecnn.quantize.ranges import range_methods as ranges
from edgecnn.registry import suggest
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.targets import Target, target


@dataclass(frozen=True)
class QuantizeRequest:
    """What is asked. Raises InvalidValueError or UnknownNameError for values that cannot work."""

    source: Path
    output: Path
    target: str = "portable"
    #: "int8" or "float16".
    precision: str = "int8"
    effort: str = "default"
    budget: Budget = field(default_factory=Budget)
    ranges: str = "mse"
    #: Folder of images; None for the built-in ones. Some calibrate, others check.
    calib: Path | None = None
    calib_images: int = 128
    check_images: int = 64
    #: Labelled images for `Budget.max_drop`: a folder of class folders, or "digits".
    data: str | None = None
    #: From an image to the input; None for what the file's manifest says, else ImageNet's.
    preprocessing: Preprocessing | None = None
    #: Side of the input in pixels, for a file that leaves it open.
    size: int | None = None
    #: Whether each layer's sensitivity is measured.
    sensitivity: bool = False
    #: Whether ImageNet's preparation is assumed where it is unlikely.
    yes: bool = False
    #: Whether int8 that is below the floor is taken as it is.
    force: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for what, value, known in (
            ("precision", self.precision, ("int8", "float16")),
            ("effort", self.effort, tuple(LADDERS)),
            ("range method", self.ranges, tuple(ranges.METHODS)),
        ):
            if value not in known:
                raise InvalidValueError(f"unknown {what} {value!r}", hint=suggest(value, list(known)))
        if self.calib_images < 1 or self.check_images < 2:
            raise InvalidValueError(
                f"{self.calib_images} images to calibrate and {self.check_images} to check are too few",
                hint="at least 1 and 2",
            )
        if self.output.resolve() == self.source.resolve():
            raise InvalidValueError(
                f"{self.output} would replace the float file that it is made from", hint="-o int8.onnx"
            )
        if not 0 <= self.seed < 2**63:
            raise InvalidValueError(f"seed {self.seed} cannot be used", hint="0 or a positive number")
        if (self.budget.max_drop is None) != (self.data is None):
            raise InvalidValueError(
                "--max-drop and --data belong together", hint="--max-drop 1 --data FOLDER_OF_CLASS_FOLDERS"
            )
        target(self.target)

    @property
    def resolved_target(self) -> Target:
        """Row of the table of targets."""
        return target(self.target)


@dataclass(frozen=True)
class RequantizeRequest:
    """What is asked. Raises UnknownNameError for a target that is none."""

    #: An int8 file of edgecnn.
    source: Path
    output: Path
    target: str

    def __post_init__(self) -> None:
        target(self.target)
