"""A network whose outputs are no class scores: what it keeps of a reference, and what a metric says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn.data.unreadable import Skipped
from edgecnn.parity import Output, Parity
from edgecnn.runtime.engine import Engine
from edgecnn.tasks.compare import comparable, compare_outputs, same_outputs
from edgecnn.tasks.metric import Metric


@dataclass(frozen=True)
class Figure:
    """What a metric says of a network, and of its reference."""

    name: str
    value: float
    reference: float | None = None

    @classmethod
    def of(cls, metric: Metric, outputs: Sequence[Sequence[Output]], labels: Any) -> Figure:
        """Measure the outputs of a network, and of its reference if there are two."""
        values = [metric(item, labels) for item in outputs]
        return cls(metric.name, *values)


@dataclass(frozen=True)
class MeasuredOutputs:
    """What was measured of a network on images, or on samples from files."""

    path: Path
    data: str
    #: Number of images or samples.
    n: int
    #: Of the whole, decoding included.
    seconds: float
    conditions: dict[str, Any]
    #: Against the reference, if there is one.
    parity: Parity | None = None
    reference: Path | None = None
    metric: Figure | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        agreement = None
        if self.parity is not None and self.reference is not None:
            agreement = {
                "path": str(self.reference),
                "sha256": files.sha256(self.reference),
                "parity": self.parity.to_json(),
            }
        return {
            "path": str(self.path),
            "sha256": files.sha256(self.path),
            "data": self.data,
            "agreement": agreement,
            "metric": dataclasses.asdict(self.metric) if self.metric else None,
            "skipped": [dataclasses.asdict(item) for item in self.skipped],
            "notes": list(self.notes),
            "n": self.n,
            "seconds": self.seconds,
            "throughput_ips": self.n / self.seconds,
            "conditions": self.conditions,
        }


def parity_of(engines: Sequence[Engine], outputs: Sequence[Sequence[Output]]) -> Parity:
    """Return how near the first engine's outputs are to the second's; raises ParityError."""
    engine, reference = engines
    expected = comparable(outputs[1])
    name = engine.path.name
    return compare_outputs(expected, same_outputs(expected, outputs[0], name), name, task=reference.task)
