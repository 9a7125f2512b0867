"""The range that loses least information: Kullback-Leibler divergence, without a histogram's artefacts.

The idea is that of Migacz, "8-bit inference with TensorRT" (NVIDIA GTC 2017): quantizing smears the values
within a step into one density, and clipping piles the outer ones up at the end; take the range for which
the smeared density diverges least from the observed one. The slides' pseudocode, and the programs that
follow it, have known flaws; what is done here instead:

- The zeros of a ReLU fill the first bin, and smearing that bin outweighs everything else (NVIDIA's tools
  overwrite it with its neighbour). Zeros are exact in every range, so they are an atom of their own in both
  distributions, and cancel.
- A whole number of bins goes into each step, and the last one takes the remainder, which makes the divergence
  a saw-tooth. Here bins are pieces of constant density, which a step may cut anywhere; steps are the
  quantizer's own, centred on its levels.
- Of a tensor with few different values, as an image's pixels, most bins are empty. The density is
  smeared over those that can be occupied, judged by how many would be empty by chance.
- A bin that is empty in one distribution makes the divergence infinite, and is smoothed with an arbitrary
  constant. Here what is clipped is compared within the outermost step, which counts half a sample more
  than was seen (Krichevsky and Trofimov 1981).
- The histogram's noise diverges from any smooth density: with n samples in k bins by about k / 2n (Miller
  1955), more than the signal, so that the pseudocode clips even uniform values, to have fewer bins.
  The divergence expected of a constant density is subtracted.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.ranges.observers import Observer

_Array = npt.NDArray[np.float64]
#: Ends that are tried on a side: from the observed extreme down to this part of it, 3.5 % apart.
_CANDIDATES = np.geomspace(1.0, 1 / 256, 160)
_ROUNDS = 2
#: No range clips a larger share of the values. Where many values are alike, clipping the next ones to them
#: hardly changes the distribution, but it changes the values.
MAX_CLIPPED = 0.01


def search(observer: Observer, low: float, high: float, symmetric: bool, levels: int) -> tuple[float, float]:
    """Return the range, within (low, high), whose divergence is least; see above."""
    if observer.counts.sum() < levels:
        return low, high  # fewer values than steps tell nothing of a density
    density = _Density(observer)
    if symmetric:
        ends = max(-low, high) * _CANDIDATES
        best = float(ends[np.argmin(density.divergence(-ends, ends, levels))])
        return -best, best
    for _ in range(_ROUNDS if low < 0 < high else 1):
        if high > 0:
            ends = observer.maximum * _CANDIDATES
            high = float(ends[np.argmin(density.divergence(np.full_like(ends, low), ends, levels))])
        if low < 0:
            ends = observer.minimum * _CANDIDATES
            low = float(ends[np.argmin(density.divergence(ends, np.full_like(ends, high), levels))])
    return low, high


class _Density:
    """The nonzero values as pieces of constant density, in units of samples."""

    def __init__(self, observer: Observer) -> None:
        # Neighbours that one sample stands for say nothing new: only samples reduce the noise.
        total = int(observer.counts.sum()) + observer.zeros
        share = observer.sampled / max(1, total)
        counts = observer.counts.astype(np.float64) * share
        self._width = 2 * observer.reach / counts.size
        self._zeros = observer.zeros * share
        self._edges = np.linspace(-observer.reach, observer.reach, counts.size + 1)
        self._total = float(counts.sum())
        self._below = np.concatenate([[0.0], np.cumsum(counts)])
        self._negentropy = np.concatenate([[0.0], np.cumsum(_xlogx(counts))])
        self._occupied = np.concatenate([[0.0], np.cumsum(counts > 0)])
        used = np.flatnonzero(counts)
        self._support = self._edges[used[0]], self._edges[used[-1] + 1]
        self._extremes = observer.minimum, observer.maximum

    def divergence(self, low: _Array, high: _Array, levels: int) -> _Array:
        """Return the divergence, times the number of samples, of each of the ranges (low[i], high[i])."""
        step = (high - low) / levels
        inner = low[:, None] + step[:, None] * (np.arange(levels) + 0.5)
        # A bin reaches beyond the extreme that it holds, and its values are all inside with that extreme.
        least = np.where(low <= self._extremes[0], self._support[0], low)
        most = np.where(high >= self._extremes[1], self._support[1], high)
        edges = np.concatenate([least[:, None], inner, most[:, None]], axis=1)
        # A step is not smeared over where nothing was seen, such as the left half of a ReLU's zero.
        edges = np.clip(edges, *self._support)
        below = np.interp(edges, self._edges, self._below)
        inside = np.diff(below, axis=1)
        bins = np.maximum(np.diff(edges, axis=1) / self._width, 1e-9)
        # Pixels have 256 values: what lies between is always empty, and nothing is smeared there.
        # Of bins that are empty by chance, as a Poisson count of the same mean is, there are this many more.
        occupied = np.diff(np.interp(edges, self._edges, self._occupied), axis=1)
        possible = occupied / np.maximum(-np.expm1(-inside / bins), 1e-9)
        bins = np.maximum(np.minimum(bins, possible), 1e-9)
        ends = np.interp(edges[:, [0, -1]], self._edges, self._negentropy)
        smeared = ends[:, 1] - ends[:, 0] - (inside * np.log(np.maximum(inside, 1e-300) / bins)).sum(axis=1)
        noise = np.maximum(0, bins * _noise(inside / bins) - _noise(inside)).sum(axis=1)
        clipped = below[:, 0] + self._total - below[:, -1]
        everything = self._total + self._zeros
        piled = sum(
            (inside[:, cell] + 0.5 + beyond) * np.log1p(beyond / (inside[:, cell] + 0.5))
            for cell, beyond in ((0, below[:, 0]), (-1, self._total - below[:, -1]))
        )
        # What is left in the range is scaled up to a whole distribution.
        scaled = everything * np.log1p(-np.minimum(clipped / everything, 1 - 1e-12))
        divergence = np.maximum(0, smeared - noise) + piled + scaled
        return np.where(clipped > MAX_CLIPPED * everything, np.inf, divergence)


def _xlogx(x: _Array) -> _Array:
    return np.asarray(x * np.log(np.maximum(x, 1e-300)))


def _noise(mean: _Array) -> _Array:
    """Return E[c log c] - mean log mean for a Poisson count c: 0 at 0, about 1/2 from 1 on."""
    grid, values = _noise_table()
    return np.interp(mean, grid, values)


@lru_cache(maxsize=1)
def _noise_table() -> tuple[_Array, _Array]:
    grid = np.concatenate([[0.0], np.geomspace(1e-4, 100, 120)])
    count = np.arange(1, 400, dtype=np.float64)
    log_mean = np.log(np.maximum(grid, 1e-300))[:, None]
    weight = np.exp(count * log_mean - grid[:, None] - np.cumsum(np.log(count)))
    expected = (weight * _xlogx(count)).sum(axis=1) - grid * log_mean[:, 0]
    return grid, expected
