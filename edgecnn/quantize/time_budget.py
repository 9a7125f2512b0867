"""A time that a job may take, by the clock."""

from __future__ import annotations

import re
import time

from edgecnn.errors import InvalidValueError

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

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; below zero when it has run out."""
        return self._end - time.monotonic()
