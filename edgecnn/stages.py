"""What the stages of a long job take: seconds, and on Linux the peak of the process's memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edgecnn.progress import Progress, silent, stage_of

#: Seconds between two looks at the memory.
_INTERVAL = 0.02


@dataclass(frozen=True)
class Stage:
    """What one stage took."""

    seconds: float
    #: Most memory that the process held in it; None where the system does not say.
    peak_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are known."""
        peak = {} if self.peak_bytes is None else {"peak_bytes": self.peak_bytes}
        return {"seconds": round(self.seconds, 3), **peak}


class Stages:
    """A `Progress` that passes on what it is told, and keeps account of the stages while it is entered."""

    def __init__(self, progress: Progress = silent) -> None:
        self._progress = progress
        self._taken: dict[str, Stage] = {}
        self._memory = _Memory()
        self._name: str | None = None
        self._start = 0.0

    def __enter__(self) -> Stages:
        self._memory.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        self._memory.stop()

    def __call__(self, step: str) -> None:
        """Begin a step; it belongs to another stage than the last one if that has another name."""
        name = stage_of(step)
        if name != self._name:
            self._end()
            self._name, self._start = name, time.perf_counter()
        self._progress(step)

    @property
    def taken(self) -> Mapping[str, Stage]:
        """What each stage that is done took, by name; of one that came several times, all together."""
        return dict(self._taken)

    def _end(self) -> None:
        if self._name is None:
            return
        before = self._taken.get(self._name, Stage(0.0, None))
        peaks = [peak for peak in (before.peak_bytes, self._memory.peak()) if peak is not None]
        seconds = before.seconds + time.perf_counter() - self._start
        self._taken[self._name] = Stage(seconds, max(peaks, default=None))
        self._name = None


def to_json(stages: Mapping[str, Stage]) -> dict[str, Any]:
    """Return what stages took, by name."""
    return {name: stage.to_json() for name, stage in stages.items()}


class _Memory:
    """Looks at the process's memory now and then; where the peak that the system knows rises, that is exact.

    That one is not set back: whoever else asks for it would get another stage's.
    """

    def __init__(self) -> None:
        self._most = 0
        self._record = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory of the stages", daemon=True)

    def start(self) -> None:
        status = _status()
        if status is not None:
            self._record = status["VmHWM"]
            self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def peak(self) -> int | None:
        """Return the most bytes since the last call; None where the system does not say."""
        status = _status()
        if status is None:
            return None
        most = max(self._most, status["VmRSS"])
        if status["VmHWM"] > self._record:
            self._record = most = status["VmHWM"]
        self._most = 0
        return most

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL):
            if (status := _status()) is not None:
                self._most = max(self._most, status["VmRSS"])


def _status() -> dict[str, int] | None:
    """Return the bytes that the process holds (VmRSS) and has held at most (VmHWM); None if nobody says."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    words = [line.split() for line in lines if line.startswith(("VmRSS:", "VmHWM:"))]
    sizes = {name.rstrip(":"): int(size) * 1024 for name, size, _ in words}
    return sizes if len(sizes) == 2 else None
