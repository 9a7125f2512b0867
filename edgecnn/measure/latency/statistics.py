"""What samples of a latency say: percentiles, how sure the median is, and whether they stayed the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

PERCENTILES = (50, 90, 95, 99, 99.9)
#: A change of the median by less is not worth a word.
LEAST_CHANGE = 0.05
#: Pieces that a run is cut into to look for a change, each with its median.
_PIECES = 20
_RESAMPLES = 1000


def summary(samples: Array) -> dict[str, float]:
    """Return percentiles and moments, in the samples' unit. The 99.9th is the largest below 1000 samples."""
    return {
        **{f"p{p:g}": float(np.percentile(samples, p)) for p in PERCENTILES},
        "mean": float(samples.mean()),
        "min": float(samples.min()),
        "max": float(samples.max()),
        "std": float(samples.std()),
    }


def median_interval(samples: Array, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return an interval that holds the true median with probability `level`.

    Successive runs resemble each other, so that blocks of them are drawn again instead of single ones
    (Künsch 1989, "The jackknife and the bootstrap for general stationary observations"), of length n^(1/3)
    as Hall, Horowitz and Jing 1995 find best for an interval.
    """
    count = len(samples)
    length = max(1, round(count ** (1 / 3)))
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, count - length + 1, (_RESAMPLES, -(-count // length)))
    rows = (starts[:, :, None] + np.arange(length)).reshape(_RESAMPLES, -1)[:, :count]
    medians = np.median(samples[rows], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Steadiness:
    """Whether a run's latency stayed the same from its beginning to its end."""

    #: "steady", "slower" or "faster" from some moment on, "drifting" all the time, or "unsteady".
    verdict: str
    #: Median at the end over median at the beginning of what was found.
    ratio: float
    #: Seconds from the beginning to the change; None where there is no such moment.
    at_seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)

    def __str__(self) -> str:
        if self.verdict == "steady":
            return "steady"
        change = f"{abs(self.ratio - 1):.0%}"
        if self.at_seconds is not None:
            return f"{change} {self.verdict} after {self.at_seconds:.1f} s"
        if self.verdict == "drifting":
            return f"drifting: {change} {'slower' if self.ratio > 1 else 'faster'} at the end"
        return f"unsteady: medians differ by {change}"


def steadiness(samples: Array, times: Array) -> Steadiness:
    """Return whether latencies stayed the same; `times` are the seconds at which each began.

    A run is cut into pieces by number. One change of the median is looked for at every cut, a line through
    the medians is fitted as well, and the better explanation is given if it explains most of what varies and
    is worth a word. Throttling looks like either.
    """
    pieces = [part for part in np.array_split(np.arange(len(samples)), _PIECES) if len(part)]
    if len(pieces) < 4:
        return Steadiness("steady", 1.0)
    medians = np.array([np.median(samples[part]) for part in pieces])
    position = np.arange(len(medians))
    spread = float(np.sum((medians - medians.mean()) ** 2))
    # Two pieces at least on either side: one slow piece is no change.
    cuts = range(2, len(medians) - 1)
    cut = min(cuts, key=lambda at: medians[:at].var() * at + medians[at:].var() * (len(medians) - at))
    before, after = float(np.median(medians[:cut])), float(np.median(medians[cut:]))
    left = float(medians[:cut].var() * cut + medians[cut:].var() * (len(medians) - cut))
    line = np.polyfit(position, medians, 1)
    straight = float(np.sum((medians - np.polyval(line, position)) ** 2))
    if spread > 0 and min(left, straight) < 0.4 * spread:
        if left <= straight and abs(after / before - 1) > LEAST_CHANGE:
            return Steadiness(
                "slower" if after > before else "faster",
                after / before,
                float(times[pieces[cut][0]] - times[0]),
            )
        ends = np.polyval(line, position[[0, -1]])
        if straight < left and ends[0] > 0 and abs(ends[1] / ends[0] - 1) > LEAST_CHANGE:
            return Steadiness("drifting", float(ends[1] / ends[0]))
    low, high = np.quantile(medians, [0.1, 0.9])
    if high / low - 1 > 2 * LEAST_CHANGE:
        return Steadiness("unsteady", float(high / low))
    return Steadiness("steady", float(after / before))


@dataclass(frozen=True)
class Ratio:
    """How many times as long one engine takes as another, with a 95 % interval."""

    value: float
    low: float
    high: float
    #: Pairs of measurements, and how many times both engines were loaded for them.
    pairs: int
    loads: int

    @property
    def times_as_fast(self) -> tuple[float, float, float]:
        """How many times as fast the one is as the other, and the ends of the interval."""
        return 1 / self.value, 1 / self.high, 1 / self.low

    def to_json(self) -> dict[str, Any]:
        """Return the fields, and the inverse of the value."""
        return {**asdict(self), "times_as_fast": self.times_as_fast[0]}

    @property
    def verdict(self) -> str:
        """ "slower", "faster", or "no difference found"."""
        return "slower" if self.low > 1 else "faster" if self.high < 1 else "no difference found"


def paired_ratio(one: Sequence[Array], other: Sequence[Array]) -> Ratio:
    """Return how `one` relates to `other`, measured in pairs right after each other, an array for each load.

    A program is up to a percent faster or slower each time that it is loaded, for where its memory lies, and
    keeps to that: more pairs of the same load do not tell (Kalibera and Jones 2013, "Rigorous benchmarking in
    reasonable time"). So each load counts as one measurement, and the interval is Student's over the loads;
    the one over all pairs is given where it is wider.

    Of each load, and of all pairs: the geometric mean of the ratios without the tenth that is farthest off on
    either side, which interruptions make. Of all pairs: Tukey and McLaughlin's interval for such a mean
    (1963, "Less vulnerable confidence and significance procedures for location based on a single sample").
    """
    logs = [np.log(first / second) for first, second in zip(one, other, strict=True)]
    loads = np.array([_trimmed(each)[0] for each in logs])
    _, reach = _trimmed(np.concatenate(logs))
    if len(loads) > 1:
        reach = max(reach, student_t(len(loads) - 1) * float(loads.std(ddof=1)) / math.sqrt(len(loads)))
    middle = float(loads.mean())
    count = sum(map(len, logs))
    return Ratio(math.exp(middle), math.exp(middle - reach), math.exp(middle + reach), count, len(loads))


def _trimmed(values: Array) -> tuple[float, float]:
    """Return the mean without a tenth on either side, and how far it may be off."""
    ordered = np.sort(values)
    count = len(ordered)
    cut = count // 10
    kept = ordered[cut : count - cut]
    winsorized = np.clip(ordered, kept[0], kept[-1])
    error = float(winsorized.std(ddof=1)) / (len(kept) / count * math.sqrt(count)) if count > 1 else math.inf
    return float(kept.mean()), student_t(len(kept) - 1) * error if count > 1 else math.inf


def student_t(freedom: int) -> float:
    """Return the 97.5 % point of Student's t.

    By the expansion of Cornish and Fisher (Abramowitz and Stegun 1964, 26.7.5), within 0.1 % from 5 on.
    """
    if freedom < 1:
        return math.inf
    z, n = 1.959964, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / n**power for power, term in enumerate(terms, start=1))
