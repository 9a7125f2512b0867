"""How a long job says what it does: it tells each step, as it begins, to a function that who waits gives."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Is told one line of text as each step begins, such as "simplify", or "images: 3 of 20, 9 s left", where
#: what follows the colon counts within one step. It is called from the thread that works, in the order of
#: the work, and has to return soon; what it raises ends the job.
Progress = Callable[[str], None]

#: Seconds after which the rate so far says how much time is left.
_SETTLED = 2.0


def stage_of(step: str) -> str:
    """Return the stage that a step belongs to: its text without counts and what is said in brackets."""
    return step.partition(":")[0].partition(" (")[0]


class TimeLeft:
    """How long a job takes yet, at the rate so far."""

    def __init__(self, expected: float | None = None) -> None:
        """Begin now; `expected` are the seconds that the whole job is thought to take, if that is known."""
        self._expected, self._start = expected, time.monotonic()

    def __call__(self, share: float) -> str:
        """Return ", 40 s left", with `share` of the job done; nothing as long as that cannot be told."""
        passed = time.monotonic() - self._start
        if share > 0 and passed >= _SETTLED:
            return f", {duration(passed * (1 - share) / share)} left"
        return "" if self._expected is None else f", {duration(self._expected * (1 - share))} left"


def duration(seconds: float) -> str:
    """Return a time for people: 40 s, 3 min, 2 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{round(seconds / 3600)} h"


def silent(step: str) -> None:
    """Take no notice: the progress of a job that nobody watches."""
