"""How far to prune: a share of the channels, or what the network may cost."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecnn.errors import InvalidValueError

if TYPE_CHECKING:
    from edgecnn.compress.prune.network_timing import Timing

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_NAMES = {"channels": "channels", "macs": "MACs", "params": "parameters"}
_HINT = "give a number such as 100M, or a share of the unpruned network such as 0.5x"


@dataclass(frozen=True)
class Goal:
    """What is to be left: `kind` is "channels", "macs" or "params".

    `amount` counts them, or is a share of what the unpruned network has if `relative`.
    """

    kind: str
    amount: float
    relative: bool

    def __post_init__(self) -> None:
        """Raise InvalidValueError for what cannot be left."""
        if not math.isfinite(self.amount) or self.amount <= 0 or (self.relative and self.amount >= 1):
            raise InvalidValueError(
                f"pruning cannot leave {self} of a network", hint="above 0 and below the whole"
            )

    @classmethod
    def parse(cls, kind: str, text: str) -> Goal:
        """Return the goal of "100M" or "0.5x"; raises InvalidValueError."""
        amount, unit = number(text, {**_UNITS, "x": 1.0}, _HINT)
        return cls(kind, amount, unit == "x")

    @classmethod
    def without(cls, ratio: float) -> Goal:
        """Return the goal of removing the share `ratio` of all channels that can be removed."""
        if not 0 < ratio < 1:
            raise InvalidValueError(
                f"a share of {ratio:g} of the channels cannot be removed", hint="between 0 and 1"
            )
        return cls("channels", 1 - ratio, relative=True)

    def of(self, whole: float) -> float:
        """Return how many are to be left of `whole`; raises InvalidValueError if that is not fewer."""
        wanted = self.amount * whole if self.relative else self.amount
        if wanted >= whole:
            raise InvalidValueError(
                f"the network has {whole:,.0f} {_NAMES[self.kind]}, which is no more than {wanted:,.0f}"
            )
        return wanted

    def __str__(self) -> str:
        return f"{self.amount:g}{'x the' if self.relative else ''} {_NAMES[self.kind]}"


def number(text: str, units: dict[str, float], hint: str) -> tuple[float, str]:
    """Return the number in `text`, in the base unit, and its unit in lower case; raises InvalidValueError."""
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", text.lower())
    if not match or match[2] not in units:
        raise InvalidValueError(f"{text!r} is no amount", hint=hint)
    return float(match[1]) * units[match[2]], match[2]


@dataclass(frozen=True)
class LatencyGoal:
    """A latency in milliseconds, or a share of the unpruned network's if `relative`."""

    amount: float
    relative: bool

    def __post_init__(self) -> None:
        """Raise InvalidValueError for what pruning cannot reach."""
        if not math.isfinite(self.amount) or self.amount <= 0 or (self.relative and self.amount >= 1):
            raise InvalidValueError(
                f"{self} is no latency to prune to", hint="above 0 and below the unpruned network's"
            )

    @classmethod
    def parse(cls, text: str) -> LatencyGoal:
        """Return the goal of "4ms", "900us" or "0.6x"; raises InvalidValueError."""
        amount, unit = number(text, {"ms": 1.0, "us": 1e-3, "s": 1e3, "x": 1.0}, "as in 4ms or 0.6x")
        return cls(amount, unit == "x")

    def share(self, timing: Timing) -> float:
        """Return the latency as a share of the goal: at most 1 if the goal is met."""
        return (timing.ratio if self.relative else timing.milliseconds) / self.amount

    def __str__(self) -> str:
        return f"{self.amount:g}{'x the latency' if self.relative else ' ms'}"
