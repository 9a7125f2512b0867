"""What came of a step of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What came of a step, for all its seeds."""

    id: str
    kind: str
    options: Mapping[str, Any]
    #: Tells this step, with these inputs, from any other.
    fingerprint: str
    #: Files that it made, the first of which goes on, and their hashes.
    paths: list[str]
    sha256: list[str]
    #: One for each seed.
    metrics: list[dict[str, Any]]
    seconds: float
    notes: list[str] = field(default_factory=list)
    #: Whether its budget was met; None if it had none.
    met: bool | None = None

    def value(self, key: str) -> float | None:
        """Return the mean of a measured number over the seeds; None if it was not measured."""
        values = [row[key] for row in self.metrics if isinstance(row.get(key), (int, float))]
        return sum(values) / len(values) if len(values) == len(self.metrics) and values else None
