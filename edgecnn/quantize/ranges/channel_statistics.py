"""Statistics of each channel of a tensor while images stream by, for the repair of weights and biases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecnn.errors import DataError
from edgecnn.quantize.ranges.observers import check_finite


class ChannelObserver:
    """Minimum, maximum, mean and standard deviation of each channel, over (N, H, W) or, for rank 2, over N.

    Means and squared deviations of batches are merged in float64 by the pairwise formulas of Chan,
    Golub and LeVeque 1979 ("Updating formulae and a pairwise algorithm for computing sample variances",
    Stanford STAN-CS-79-773): unlike sums of squares they keep their digits when the mean is large
    beside the deviation. Memory is a few numbers per channel.
    """

    def __init__(self, tensor: str) -> None:
        self.tensor = tensor
        #: Values seen of each channel.
        self.count = 0
        empty: npt.NDArray[np.float64] = np.zeros(0)
        self.minimum = empty
        self.maximum = empty
        self.mean = empty
        self._squares = empty

    @property
    def std(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each channel: the squared deviations are divided by their number."""
        return np.asarray(np.sqrt(self._squares / max(1, self.count)))

    def update(self, values: npt.NDArray[np.float32]) -> None:
        """Take in one batch, (N, C, ...).

        Raises DataError naming the tensor for values that are not finite, and for a shape without
        channels or with another number of them than before.
        """
        if values.ndim < 2 or (self.count and values.shape[1] != self.mean.size):
            raise DataError(
                f"calibration: tensor {self.tensor!r} of shape {values.shape} has no channels to compare",
                hint="channels are the second axis, and as many in each batch",
            )
        if not values.size:
            return
        by_channel = values.reshape(*values.shape[:2], -1)
        low, high = by_channel.min(axis=(0, 2)), by_channel.max(axis=(0, 2))
        check_finite(self.tensor, low, high)
        count = by_channel.shape[0] * by_channel.shape[2]
        mean = by_channel.mean(axis=2, dtype=np.float64).mean(axis=0)
        squares = np.zeros_like(mean)
        for image in by_channel:
            # One image at a time: a float64 copy of the whole batch would be its largest array.
            away = image - mean[:, None]
            squares += np.einsum("cx,cx->c", away, away)
        if not self.count:
            self.minimum, self.maximum = low.astype(np.float64), high.astype(np.float64)
            self.mean, self._squares, self.count = mean, squares, count
            return
        self.minimum, self.maximum = np.minimum(self.minimum, low), np.maximum(self.maximum, high)
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self._squares = self._squares + squares + delta * delta * (self.count * count / total)
        self.count = total
