"""A time that a job may take, by the clock."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from edgecnn.errors import InvalidValueError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Batch = npt.NDArray[np.float32]

_UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_TIME = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(s|min|m|h|)\s*")


def seconds_of(text: str) -> float:
    """Read "30s", "5m", "1h" or a number of seconds; raises InvalidValueError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise InvalidValueError(f"{text!r} is no time", hint="as in 30s, 5m or 1h")
    return float(found[1]) * _UNITS[found[2]]


class TimeBudget:
    """Begins to run out when it is made."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        #: What the time is, in seconds.
        self.clock = clock
        self._start = clock()
        #: Images that the result is run on when all else is done, and seconds that are kept for that.
        self.checks = 0
        self.reserved = 0.0

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return self.clock() - self._start

    @property
    def left(self) -> float:
        """Seconds that are left but for those reserved; below zero when they have run out."""
        return self.seconds - self.passed - self.reserved


class InTime:
    """Batches of images for as long as the next one fits into a time, but at least `fewest` images."""

    def __init__(
        self,
        batches: Iterable[Batch],
        fewest: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._batches, self._fewest, self._seconds, self._clock = batches, fewest, seconds, clock
        #: Whether there were more, once all were taken.
        self.cut_short = False

    def __iter__(self) -> Iterator[Batch]:
        start, seen = math.inf, 0
        for batch in self._batches:
            # From the first one on: what comes before is done once.
            start = min(start, self._clock())
            image = (self._clock() - start) / max(1, seen)
            if seen >= self._fewest and image * (seen + len(batch)) > self._seconds:
                self.cut_short = True
                return
            yield batch
            seen += len(batch)
