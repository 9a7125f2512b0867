"""What came of pruning a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from edgecnn.artifact import Manifest
from edgecnn.compress.prune.network_timing import Timing
from edgecnn.compress.prune.prune_to_latency import Attempt
from edgecnn.record import Record
from edgecnn.zoo import cost


@dataclass(frozen=True)
class PrunedFile(Record):
    """A checkpoint that was written."""

    path: Path
    sha256: str
    manifest: Manifest
    before: cost.Cost
    after: cost.Cost
    #: Against the network before; None if it was not measured.
    timing: Timing | None
    #: Of a search for a latency.
    attempts: tuple[Attempt, ...]
    #: Whether a latency that was asked for is reached.
    met: bool
    #: On the test images, where there are any.
    accuracy: float | None
    #: Of the network that was given, if it knows the classes of the data.
    accuracy_before: float | None
    #: What that is: "top1", or the metric of the task, in points.
    figure: str
    notes: list[str] = field(default_factory=list)
    #: The network itself.
    network: nn.Module | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.path.stat().st_size,
            "architecture": self.manifest.architecture,
            "alpha": self.manifest.alpha,
            "resolution": self.manifest.resolution,
            "params": self.after.params,
            "macs": self.after.macs,
            "params_before": self.before.params,
            "macs_before": self.before.macs,
            "latency": self.timing.to_json() if self.timing else None,
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "met": self.met,
            self.figure: self.accuracy,
            f"{self.figure}_before": self.accuracy_before,
            "notes": self.notes,
        }
