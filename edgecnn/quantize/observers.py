"""What is remembered of a tensor while images stream by: its extremes and a histogram of fixed size."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgecnn.errors import DataError

#: Bins of a histogram, half of them below zero.
BINS = 8192
#: Of each batch at most this many values enter the histogram; the extremes are taken from all of them.
SAMPLES = 1 << 16


class Observer:
    """Exact minimum and maximum, and a histogram over [-reach, reach), of one tensor.

    When a value lies outside, `reach` is doubled and the bins are merged in pairs, which loses
    nothing but resolution; so memory does not depend on the number of images.
    """

    def __init__(self, tensor: str) -> None:
        self.tensor = tensor
        self.minimum = math.inf
        self.maximum = -math.inf
        self.reach = 0.0
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        #: Exact zeros, which any range represents without error, are counted apart from the bins.
        self.zeros = 0

    def update(self, values: npt.NDArray[np.float32]) -> None:
        """Take in one batch; raises DataError naming the tensor if a value is not finite."""
        flat = values.reshape(-1)
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DataError(
                f"calibration: tensor {self.tensor!r} holds infinite or undefined values",
                hint="check the weights and the preprocessing",
            )
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        self._grow(max(-low, high))
        # An odd step does not fall into step with the rows of a feature map, whose widths are mostly even.
        step = max(1, flat.size // SAMPLES) | 1
        sample = flat[::step]
        self._add(np.append(sample, [low, high]) if step > 1 else sample)

    def _grow(self, magnitude: float) -> None:
        if self.reach == 0.0:
            # A power of two, so that a later doubling meets what other batches would have chosen.
            self.reach = 2.0 ** math.ceil(math.log2(magnitude * 1.001)) if magnitude > 1e-30 else 0.0
        while self.reach and magnitude >= self.reach:
            quarter = BINS // 4
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[quarter : 3 * quarter] = merged
            self.reach *= 2

    def _add(self, sample: npt.NDArray[np.float32]) -> None:
        nonzero = sample[sample != 0]
        self.zeros += sample.size - nonzero.size
        if self.reach and nonzero.size:
            bins = (nonzero * np.float32(BINS / 2 / self.reach)).astype(np.int32)
            # The cast rounds towards zero: a negative value belongs one bin lower.
            bins += BINS // 2 - (nonzero < 0)
            self.counts += np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Middle of each bin."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * (2 * self.reach / BINS) - self.reach
