"""Is a network as sure as it is right? Confidence, calibration error, likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Bins of equal width, as Guo et al. take them.
BINS = 15
#: Images whose probabilities are in memory at once.
_BLOCK = 1024


@dataclass(frozen=True)
class Bin:
    """The images whose confidence is above `low` and at most `high`."""

    low: float
    high: float
    n: int
    #: Mean confidence and share of right answers; None without images.
    confidence: float | None
    accuracy: float | None


def confidence_and_loss(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the probability of each image's answer, (N,), and its negative log-likelihood in nats, (N,).

    Probabilities are the softmax of the logits, (N, classes); see `log_probabilities`.
    """
    confidence, loss = np.empty(len(logits)), np.empty(len(logits))
    given = _are_probabilities(logits)
    for start in range(0, len(logits), _BLOCK):
        block = log_probabilities(logits[start : start + _BLOCK], given)
        rows = slice(start, start + len(block))
        confidence[rows] = np.exp(block.max(axis=1))
        loss[rows] = -np.take_along_axis(block, labels[rows, None], axis=1)[:, 0]
    return confidence, loss


def log_probabilities(logits: npt.NDArray[np.float32], given: bool | None = None) -> npt.NDArray[np.float64]:
    """Return the logarithm of the softmax of logits, (N, classes).

    A network that ends in a softmax gives probabilities already; `given` says whether it does, else the
    numbers tell.
    """
    wide = logits.astype(np.float64)
    if _are_probabilities(logits) if given is None else given:
        return np.asarray(np.log(np.maximum(wide, np.finfo(np.float32).tiny)))
    wide -= wide.max(axis=1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)))


def _are_probabilities(logits: npt.NDArray[np.float32]) -> bool:
    return bool(logits.min() >= 0 and np.allclose(logits.sum(axis=1, dtype=np.float64), 1, atol=1e-3))


def reliability(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Return how often answers were right, (N,) bool, by how sure they were (Guo et al. 2017, section 2)."""
    edges = np.linspace(0, 1, BINS + 1)
    place = np.digitize(confidence, edges[1:-1], right=True)
    bins = []
    for index in range(BINS):
        inside = place == index
        n = int(inside.sum())
        bins.append(
            Bin(
                float(edges[index]),
                float(edges[index + 1]),
                n,
                float(confidence[inside].mean()) if n else None,
                float(right[inside].mean()) if n else None,
            )
        )
    return tuple(bins)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the expected calibration error, 0 to 1: Guo et al. 2017, arXiv:1706.04599, equation 3.

    The mean over images of the distance between confidence and accuracy of their bin.
    """
    gaps = [
        item.n * abs(item.accuracy - item.confidence)
        for item in bins
        if item.accuracy is not None and item.confidence is not None
    ]
    return sum(gaps) / sum(item.n for item in bins)
