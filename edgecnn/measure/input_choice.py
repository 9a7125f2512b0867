"""What a user says of a network's inputs, for whatever measures engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class InputChoice:
    """What a user says of a network's inputs."""

    #: Height and width of the images of a network that takes any size.
    size: tuple[int, int] | None = None
    #: Name of an input: its value, the same for every sample. One number stands for all of an input's.
    constants: Mapping[str, Sequence[float]] = field(default_factory=dict)
    #: Folder of samples (`data.sample_files`).
    samples: Path | None = None

    @property
    def description(self) -> str:
        """What the conditions of a measurement say of it."""
        return "real photograph" if self.samples is None else f"samples of {self.samples}"


#: Photographs at the size that a network asks for.
PHOTOGRAPHS = InputChoice()
