"""Where a training run stands, and how fast it goes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Report:
    """Where a run stands, for whoever waits. `row` is the line of the log where an epoch has just ended."""

    stage: str
    done: int
    total: int
    loss: float
    images_per_second: float
    seconds_left: float
    row: Mapping[str, Any] | None = None


class Clock:
    """How fast a run goes."""

    def __init__(self, first: int, total: int) -> None:
        self._start, self._first, self._total = time.perf_counter(), first, total
        self._last = {"report": self._start, "save": self._start}
        self.images = 0

    def due(self, what: str, seconds: float) -> bool:
        """Return whether so many seconds have passed since it was last due."""
        now = time.perf_counter()
        if now - self._last[what] < seconds:
            return False
        self._last[what] = now
        return True

    def report(self, stage: str, done: int, loss: float, row: Mapping[str, Any] | None = None) -> Report:
        """Return where the run stands after so many steps."""
        passed = time.perf_counter() - self._start
        left = passed / max(1, done - self._first) * (self._total - done)
        return Report(stage, done, self._total, loss, self.images / max(1e-9, passed), left, row)
