"""What is known of a layer's inputs, and thus what errors of its weights do: second moments, or rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.repair.rounding import round_by_rows, round_weights

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]


class LayerInputs(Protocol):
    """Of each group of outputs that are alike in their inputs, and in what these count for."""

    @property
    def groups(self) -> int:
        """Number of groups, g."""
        ...

    def rounded(self, target: Array, limit: int) -> Array:
        """Return integers near `target`, (g, outputs, k) in units of steps."""
        ...

    def cost(self, errors: Array) -> Array:
        """Return the mean square, (g, outputs), that errors of weights, (g, outputs, k), add."""
        ...


@dataclass(frozen=True)
class SecondMoments:
    """E[x x^T] about the mean, (g, k, k)."""

    square: npt.NDArray[np.floating]

    @property
    def groups(self) -> int:
        """See `LayerInputs`."""
        return len(self.square)

    def rounded(self, target: Array, limit: int) -> Array:
        """See `LayerInputs`."""
        return round_weights(target, self.square, limit)

    def cost(self, errors: Array) -> Array:
        """See `LayerInputs`."""
        return np.asarray(np.einsum("gok,gok->go", errors @ self.square, errors))


@dataclass(frozen=True)
class FewRows:
    """Rows about their means, (g, n, k), of which there are too few to be worth a matrix of k x k."""

    rows: Single

    @property
    def groups(self) -> int:
        """See `LayerInputs`."""
        return len(self.rows)

    def rounded(self, target: Array, limit: int) -> Array:
        """See `LayerInputs`."""
        return round_by_rows(target, self.rows, limit)

    def cost(self, errors: Array) -> Array:
        """See `LayerInputs`."""
        return np.asarray(np.square(errors @ self.rows.transpose(0, 2, 1)).mean(axis=2))
