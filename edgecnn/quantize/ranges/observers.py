"""What is remembered of a tensor while images stream by: its extremes and a histogram of fixed size."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgecnn.errors import DataError

#: Bins of a histogram, half of them below zero.
BINS = 8192
#: About this many values of each image enter the histogram; the extremes are taken from all of them.
SAMPLES = 1 << 13
#: Of the moving averages: what stays of the old average when an image comes in (Jacob et al. 2018,
#: arXiv:1712.05877, section 3.1, "smoothing parameter close to 1"; PyTorch's observers use 0.99 too).
MOMENTUM = 0.99
#: The least reach of a histogram; float32's arithmetic is still exact there.
_MIN_EXPONENT = -100


class Observer:
    """Exact minimum and maximum, their moving averages, and a histogram over [-reach, reach), of one tensor.

    `reach` is the least power of two above every magnitude seen. When a larger one comes, bins are
    merged in pairs, which loses nothing but resolution; so memory does not depend on the number of
    images, and neither the images' order nor how they are split into batches changes the histogram.
    """

    def __init__(self, tensor: str) -> None:
        self.tensor = tensor
        self.images = 0
        self.minimum = math.inf
        self.maximum = -math.inf
        #: Moving averages of each image's extremes.
        self.average_minimum = 0.0
        self.average_maximum = 0.0
        self.reach = 0.0
        #: Estimate of how many of all values lie in each bin: a sampled one stands for its neighbours.
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        #: Exact zeros, which any range represents without error, are counted apart from the bins.
        self.zeros = 0
        #: How many values the counts and the zeros were estimated from.
        self.sampled = 0

    def update(self, values: npt.NDArray[np.float32]) -> None:
        """Take in one batch, images first; raises DataError naming the tensor if a value is not finite."""
        if not values.size:
            return
        images = values.reshape(len(values) if values.ndim else 1, -1)
        low, high = images.min(axis=1), images.max(axis=1)
        check_finite(self.tensor, low, high)
        self._average(low, high)
        self.minimum, self.maximum = min(self.minimum, float(low.min())), max(self.maximum, float(high.max()))
        self._grow(max(-self.minimum, self.maximum))
        step = _step(images.shape[1], values.shape[-1] if values.ndim else 1)
        # A copy side by side: a strided view would be fetched from memory anew by each operation.
        self._sample(np.ascontiguousarray(images[:, ::step]).reshape(-1), step)
        if step > 1 and self.reach:
            # The extremes are known without sampling: each stands for itself alone.
            extremes = np.concatenate([low, high])
            extremes = extremes[extremes != 0]
            np.add.at(self.counts, self._bins(extremes), 1)
            self.sampled += extremes.size

    def _average(self, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]) -> None:
        # By image, not by batch, so that the batch's size changes nothing. The first images count alike
        # (a plain mean until 1 / n falls to 1 - momentum): started at the first image alone, an average
        # with momentum 0.99 would give it half of the weight of a calibration with 64 images.
        for one_low, one_high in zip(low.tolist(), high.tolist(), strict=True):
            self.images += 1
            share = max(1 / self.images, 1 - MOMENTUM)
            self.average_minimum += share * (one_low - self.average_minimum)
            self.average_maximum += share * (one_high - self.average_maximum)

    def _grow(self, magnitude: float) -> None:
        if magnitude < self.reach or magnitude == 0:
            return
        # frexp's fraction is below 1: this power of two is the least one above the magnitude.
        needed = 2.0 ** max(math.frexp(magnitude)[1], _MIN_EXPONENT)
        while self.reach and self.reach < needed:
            quarter = BINS // 4
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts[:] = 0
            self.counts[quarter : 3 * quarter] = merged
            self.reach *= 2
        self.reach = needed

    def _sample(self, sample: npt.NDArray[np.float32], weight: int) -> None:
        zeros = sample.size - int(np.count_nonzero(sample))
        self.zeros += zeros * weight
        self.sampled += sample.size
        if self.reach:
            counted = np.bincount(self._bins(sample), minlength=BINS)
            counted[BINS // 2] -= zeros
            self.counts += counted * weight

    def _bins(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
        # A power of two scales exactly. The cast rounds towards zero: a negative value belongs one bin lower.
        bins = (values * np.float32(BINS / 2 / self.reach)).astype(np.intp)
        bins += BINS // 2
        bins -= values < 0
        return bins

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Middle of each bin."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * (2 * self.reach / BINS) - self.reach


def check_finite(tensor: str, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]) -> None:
    """Raise DataError naming a tensor if its extremes are not finite; a NaN makes both of them NaN."""
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise DataError(
            f"calibration: tensor {tensor!r} holds infinite or undefined values",
            hint="check the weights and the preprocessing",
        )


def _step(size: int, width: int) -> int:
    """Return how far apart the sampled ones of an image's values lie.

    It depends on one image's size only: were it the batch's, an image in a large batch would count less
    than one in a small batch. It has no divisor in common with the width of the feature map, so that
    sampling visits every column.
    """
    step = max(1, size // SAMPLES)
    while math.gcd(step, width) > 1:
        step += 1
    return step
