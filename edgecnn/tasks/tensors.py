"""Tensors: a network of whose outputs nothing is known but their names, shapes and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.parity import Output
from edgecnn.tasks.decoders import NetworkEnd
from edgecnn.tasks.task import Names, Task
from edgecnn.tasks.view import View

Array = npt.NDArray[Any]


class Tensors(Task):
    """Any outputs: what they keep of a reference is measured in decibels, and the worst output counts."""

    name = "tensors"
    title = "Tensors"

    def suits(self, end: NetworkEnd) -> bool:
        """Return True: every network gives tensors."""
        return True

    def answers(
        self, outputs: Sequence[Output], names: Names, top: int | None, views: Sequence[View] | None = None
    ) -> list[dict[str, Array]]:
        """Return each image's part of every output, by name."""
        count = len(outputs[0].values) if outputs else 0
        return [{item.name: item.values[row] for item in outputs} for row in range(count)]

    def lines(self, answer: Mapping[str, Array]) -> list[str]:
        """Return a line for each output: its shape and what its values range over."""
        return [f"{name}  {_shape(value)} {value.dtype}  {_range(value)}" for name, value in answer.items()]

    def to_json(self, answer: Mapping[str, Array]) -> dict[str, Any]:
        """Return shape, type, least, mean and greatest value of each output."""
        return {
            "outputs": {
                name: {"shape": list(value.shape), "dtype": str(value.dtype), **_extent(value)}
                for name, value in answer.items()
            }
        }


def _shape(value: Array) -> str:
    return " x ".join(map(str, value.shape)) or "one"


def _extent(value: Array) -> dict[str, float | None]:
    if not value.size:
        return {"min": None, "mean": None, "max": None}
    wide = value.astype(np.float64)
    return {"min": float(wide.min()), "mean": float(wide.mean()), "max": float(wide.max())}


def _range(value: Array) -> str:
    if not value.size:
        return "empty"
    wide = value.astype(np.float64)
    return f"{wide.min():.4g} to {wide.max():.4g}, mean {wide.mean():.4g}"
