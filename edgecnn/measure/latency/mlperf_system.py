"""An engine as the system under test of MLPerf's LoadGen."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs
from edgecnn.runtime.samples import unpack


class System:
    """The system under test: computes a query in the thread that brings it."""

    def __init__(self, loadgen: Any, engine: Engine, data: npt.NDArray[Any], batch: int) -> None:
        self._loadgen, self._engine, self._data, self._batch = loadgen, engine, data, batch
        #: What the engine, or the user, raised: it cannot pass through LoadGen.
        self.failure: BaseException | None = None

    def issue(self, query: Sequence[Any]) -> None:
        """Answer all samples of a query."""
        self.answer(self.arranged(query))

    def close(self) -> None:
        """End what was started."""

    def arranged(self, query: Sequence[Any]) -> list[Any]:
        """Return samples so that neighbours are neighbours in memory, which saves copying them together.

        LoadGen's offline query is one permutation of the library after another; MLPerf lets a system
        answer its samples in any order.
        """
        seen: Counter[int] = Counter()
        keys = []
        for sample in query:
            keys.append((seen[sample.index], sample.index))
            seen[sample.index] += 1
        return [query[at] for at in sorted(range(len(query)), key=keys.__getitem__)]

    def answer(self, samples: Sequence[Any]) -> None:
        """Infer samples, `batch` at a time, and tell LoadGen of each part as soon as it is done."""
        for start in range(0, len(samples), self._batch):
            part = samples[start : start + self._batch]
            try:
                if self.failure is None:
                    self._engine.run(self._inputs([sample.index for sample in part]))
            except BaseException as error:
                self.failure = error  # the samples are answered all the same, or LoadGen waits for ever
            response = self._loadgen.QuerySampleResponse
            self._loadgen.QuerySamplesComplete([response(sample.id, 0, 0) for sample in part])

    def _inputs(self, rows: list[int]) -> Inputs:
        if rows == list(range(rows[0], rows[0] + len(rows))):
            return unpack(self._data[rows[0] : rows[0] + len(rows)], self._engine.inputs)
        return unpack(self._data[rows], self._engine.inputs)


class QueuedSystem(System):
    """Computes in a thread of its own, with what is waiting as one batch: no query waits to be taken."""

    def __init__(self, loadgen: Any, engine: Engine, data: npt.NDArray[Any], batch: int) -> None:
        super().__init__(loadgen, engine, data, batch)
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="server", daemon=True)
        self._thread.start()

    def issue(self, query: Sequence[Any]) -> None:
        """Put the samples into the queue."""
        for sample in query:
            self._waiting.put(sample)

    def close(self) -> None:
        """End the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (sample := self._waiting.get()) is not None:
            samples = [sample]
            while len(samples) < self._batch and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    self._waiting.put(None)
                    break
                samples.append(following)
            self.answer(samples)
