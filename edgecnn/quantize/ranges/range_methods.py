"""From what was observed to the range that a tensor is quantized over."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgecnn.errors import UnknownNameError
from edgecnn.quantize.ranges import entropy
from edgecnn.quantize.ranges.observers import Observer
from edgecnn.registry import suggest
from edgecnn.schemes import SCHEMES

#: Low and high end of a range; zero lies inside, so that padding and ReLU's zeros are exact.
Range = tuple[float, float]

#: Least width of a range: a tensor that is always zero still needs a scale.
_MIN_WIDTH = 1e-8
#: The width of such a range, whichever form it has.
NO_WIDTH = 2 * _MIN_WIDTH
_ROUNDS = 3
#: Share of the values that the percentile method leaves inside, at each end.
PERCENTILE = 0.9999


def choose(observer: Observer, method: str, *, symmetric: bool, levels: int = 255) -> Range:
    """Return the range of a tensor by a method of `METHODS`; symmetric ranges are (-r, r).

    `levels` is the number of steps that the range is divided into. No range is wider than what was
    observed. Raises UnknownNameError for another method.
    """
    if method not in METHODS:
        raise UnknownNameError(f"unknown range method {method!r}", hint=suggest(method, list(METHODS)))
    low, high = min(0.0, observer.minimum), max(0.0, observer.maximum)
    if not high - low > _MIN_WIDTH:
        return (-_MIN_WIDTH, _MIN_WIDTH) if symmetric else (0.0, _MIN_WIDTH)
    low, high = METHODS[method](observer, low, high, symmetric, levels)
    if not high - low > _MIN_WIDTH:
        # All but the rarest values are zero: clipping all that is left would lose the tensor.
        low, high = min(0.0, observer.minimum), max(0.0, observer.maximum)
    if symmetric:
        high = max(-low, high)
        low = -high
    return float(low), float(high)


def short(ends: Range) -> Range:
    """Return a range with nine digits, a float32's worth: the manifest travels inside the model file."""
    return float(f"{ends[0]:.9g}"), float(f"{ends[1]:.9g}")


def _minmax(_: Observer, low: float, high: float, symmetric: bool, levels: int) -> Range:
    return low, high


def _moving_average(observer: Observer, low: float, high: float, symmetric: bool, levels: int) -> Range:
    """Return the averages of the images' extremes (Jacob et al. 2018, arXiv:1712.05877, section 3.1).

    Up to 100 images they are plain means, which the images' order does not change; then
    an image that comes 100 later weighs 2.7 times as much, as the momentum 0.99 says.
    """
    return min(0.0, observer.average_minimum), max(0.0, observer.average_maximum)


def _percentile(observer: Observer, low: float, high: float, symmetric: bool, levels: int) -> Range:
    """Return the 99.99th percentile of |x|, or the 0.01th and the 99.99th of x; zeros count as values.

    As numpy.percentile gives them, to a bin's width. Where so many values are zero that this is zero at
    both ends, the percentiles of the other values are taken.
    """
    for zeros in (observer.zeros, 0):
        if symmetric:
            half = observer.counts.size // 2
            folded = observer.counts[half:] + observer.counts[:half][::-1]
            edges = np.linspace(0, observer.reach, half + 1)
            end = _quantile(edges, folded, 0, zeros, PERCENTILE)
            ends = -end, end
        else:
            edges = np.linspace(-observer.reach, observer.reach, observer.counts.size + 1)
            middle = observer.counts.size // 2
            ends = (
                _quantile(edges, observer.counts, middle, zeros, 1 - PERCENTILE),
                _quantile(edges, observer.counts, middle, zeros, PERCENTILE),
            )
        # Within its bin a quantile is a guess, which must not lie beyond the extremes.
        farthest = max(-low, high)
        limits = (-farthest, farthest) if symmetric else (low, high)
        found = max(limits[0], min(0.0, ends[0])), min(limits[1], max(0.0, ends[1]))
        if found[1] - found[0] > _MIN_WIDTH:
            break
    return found


def _quantile(
    edges: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], zero_edge: int, zeros: int, share: float
) -> float:
    """Return the value below which a share of all lies, with the zeros at one of the edges."""
    below = np.concatenate([[0], np.cumsum(counts)])
    below[zero_edge + 1 :] += zeros
    # The zeros are a bin of no width.
    below = np.insert(below, zero_edge + 1, below[zero_edge] + zeros)
    edges = np.insert(edges, zero_edge, edges[zero_edge])
    # numpy's rank counts from the first value to the last; the half is from a value's start to its middle.
    return float(np.interp((below[-1] - 1) * share + 0.5, below, edges))


def _entropy(observer: Observer, low: float, high: float, symmetric: bool, levels: int) -> Range:
    """Return the range that loses least information (`entropy.search`)."""
    return entropy.search(observer, low, high, symmetric, levels)


def _mse(observer: Observer, low: float, high: float, symmetric: bool, levels: int) -> Range:
    """Return the range with the least expected squared error.

    The error of a range is that of the values it clips, which the histogram gives, plus a twelfth
    of the squared step for each value inside it except zero, which is exact (Banner et al. 2018,
    arXiv:1810.05723, section 3, with the histogram in place of a fitted density). Many
    ends are tried on one side with the other held, a few times in turn.
    """
    used = np.flatnonzero(observer.counts)
    if not used.size:
        return low, high
    window = slice(used[0], used[-1] + 1)
    counts = observer.counts[window].astype(np.float64)
    values = observer.centres[window]
    if symmetric:
        # Fold the negative half over: one end is left to choose.
        order = np.argsort(np.abs(values))
        tail = _Tail(np.abs(values)[order], counts[order])
        edges = _candidates(max(-low, high))
        error = tail.clipped(edges) + _rounding(2 * edges / levels, tail.inside(edges))
        best = float(edges[np.argmin(error)])
        return -best, best
    positive, negative = values > 0, values < 0
    above = _Tail(values[positive], counts[positive])
    below = _Tail(-values[negative][::-1], counts[negative][::-1])
    for _ in range(_ROUNDS if low < 0 < high else 1):
        if high > 0:
            edges = _candidates(observer.maximum)
            step = (edges - low) / levels
            error = above.clipped(edges) + _rounding(step, above.inside(edges) + below.inside(-low))
            high = float(edges[np.argmin(error)])
        if low < 0:
            edges = _candidates(-observer.minimum)
            step = (high + edges) / levels
            error = below.clipped(edges) + _rounding(step, below.inside(edges) + above.inside(high))
            low = -float(edges[np.argmin(error)])
    return low, high


#: The ways to choose a range, by name.
METHODS = {
    "minmax": _minmax,
    "moving_average": _moving_average,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}


def _candidates(end: float) -> npt.NDArray[np.float64]:
    # The widest comes first: where clipping gains nothing, argmin keeps the observed extreme.
    return end * np.geomspace(1.0, 1 / 256, 400)


def _rounding(step: npt.NDArray[np.float64], inside: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return step * step / 12 * inside


class _Tail:
    """Squared clipping error beyond an edge, for values >= 0 in ascending order, in constant time."""

    def __init__(self, values: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> None:
        self._values = values
        zero = np.zeros(1)
        self._n = np.concatenate([zero, np.cumsum(counts)])
        self._x = np.concatenate([zero, np.cumsum(counts * values)])
        self._xx = np.concatenate([zero, np.cumsum(counts * values * values)])

    def inside(self, edge: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
        """Return how many values lie at or below an edge."""
        return np.asarray(self._n[np.searchsorted(self._values, edge, side="right")])

    def clipped(self, edge: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the sum of (value - edge)^2 over the values beyond an edge."""
        split = np.searchsorted(self._values, edge, side="right")
        n, x, xx = (total[-1] - total[split] for total in (self._n, self._x, self._xx))
        return np.asarray(xx - 2 * edge * x + edge * edge * n)


def by_scheme(observed: Mapping[str, Observer], methods: Mapping[str, str]) -> dict[str, dict[str, Range]]:
    """Return each tensor's range for each scheme, rounded as the manifest keeps it.

    So a file that is written from the manifest is the same to the bit.
    """
    return {
        name: {
            known.name: short(choose(observer, methods[name], symmetric=known.symmetric, levels=known.levels))
            for known in SCHEMES
        }
        for name, observer in observed.items()
    }
