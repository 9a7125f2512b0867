"""A network whose outputs are no class scores: what it keeps of a reference, and what a metric says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn.data.folder import TrainingImages
from edgecnn.data.unreadable import Skipped
from edgecnn.measure.accuracy.worst_sheet import Kept
from edgecnn.parity import Output, Parity
from edgecnn.runtime.engine import Engine
from edgecnn.tasks.compare import comparable, compare_outputs, same_outputs
from edgecnn.tasks.metric import Details, Metric


@dataclass(frozen=True)
class Figure:
    """What a metric says of a network, and of its reference."""

    name: str
    value: float
    reference: float | None = None
    #: What a difference is counted in; empty of a metric of the user's.
    unit: str = ""

    @classmethod
    def of(cls, metric: Metric, parts: Sequence[Sequence[Any]]) -> Figure:
        """Measure the parts of a network's outputs, and of its reference's if there are two."""
        values = [metric.figure(item) for item in parts]
        return cls(metric.name, values[0], values[1] if len(values) > 1 else None, metric.unit)


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
    #: What else the metric says.
    details: Details | None = None
    training: TrainingImages = field(default_factory=TrainingImages)
    skipped: tuple[Skipped, ...] = ()
    #: Images of which least of the reference's boxes or pixels is kept, the worst first.
    worst: tuple[Kept, ...] = field(default=(), repr=False)
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
            "details": self.details.to_json() if self.details else None,
            "training_images": self.training.to_json(),
            "worst": [{"row": item.row, "share": item.share} for item in self.worst],
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
