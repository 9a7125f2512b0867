"""The options of int8 that every verb that writes it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgecnn.budget import Budget
from edgecnn.options import Request, about, group, option, seed
from edgecnn.quantize.time_budget import seconds_of
from edgecnn.targets import Target, target

#: Names of `ranges.range_methods.METHODS`, which cannot be asked before onnx is known to be installed.
RANGE_METHODS = ("mse", "entropy", "percentile", "moving_average", "minmax")
#: Names of `efforts.LADDERS`.
EFFORTS = ("fast", "default", "best")


@dataclass(frozen=True, kw_only=True)
class Int8Form(Request):
    """For which engine int8 is written, what stays float, and whether it is taken as it is.

    Raises UnknownNameError for an unknown target.
    """

    target: str = option("portable", "Form of int8: a name of `edgecnn targets`.")
    #: Patterns of `placement.chosen_nodes.ChosenNodes`.
    exclude: tuple[str, ...] = option(
        (),
        "Nodes that stay float: NAME with wildcards, op:OPERATOR, or TENSOR..TENSOR for what lies between.",
    )
    only: tuple[str, ...] = option((), "Nodes that may become int8, likewise; all others stay float.")
    #: Below the floor.
    force: bool = option(
        False,
        "Exit with 0, not 3, for int8 that keeps almost nothing; it is written in either case.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.resolved_target

    @property
    def resolved_target(self) -> Target:
        """Row of the table of targets."""
        with about("target"):
            return target(self.target)


@dataclass(frozen=True, kw_only=True)
class Int8Options(Int8Form):
    """How int8 is made. Raises InvalidValueError or UnknownNameError for values that cannot work."""

    effort: str | None = option(
        None,
        "Effort for the accuracy of int8: fast, default, best.",
        unset="default; fast for random weights",
        choices=EFFORTS,
    )
    time: float | None = option(
        None,
        "Time for making int8 accurate: 30s, 5m, 1h. What it is enough for depends on the machine.",
        read=seconds_of,
        unset="as the effort needs",
        above=0,
        most=30 * 86400,
    )
    budget: Budget = group(Budget)
    ranges: str = option(
        "mse",
        "Choice of ranges: mse, entropy, percentile, moving_average, minmax.",
        choices=RANGE_METHODS,
    )
    calib: Path | None = option(
        None, "Folder of images, of which a fifth checks.", unset="built-in photographs", path="folder"
    )
    calib_images: int = option(64, "Most images that calibrate.", least=1)
    seed: int = seed()
