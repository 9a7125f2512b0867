"""Search each output's weight scale for the one whose rounding disturbs the output least.

At the largest weight divided by the largest integer no weight is cut off. A smaller scale cuts off the
largest for finer steps; among larger ones may be one that puts the few weights of a depthwise output close
to whole steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: What a scale is multiplied with. Not less: a bias that just fits int32 must do so with the new scale.
FACTORS = tuple(float(factor) for factor in np.linspace(0.9, 1.2, 31).round(2))


def search(
    target: Array,
    scale: Array,
    cost: Callable[[Array], Array],
    factors: tuple[float, ...] = FACTORS,
    limit: int = 127,
) -> Array:
    """Return scales (g, outputs, 1), each `scale` times a factor.

    The one is taken that gives the smallest error of rounding `target` (g, outputs, k) to the nearest of
    -limit..limit; `cost` gives what such errors cost each output, (g, outputs).
    """
    best = scale.copy()
    least = np.full(scale.shape, np.inf)
    # The scale as it is comes first, and stays where no other is better.
    for factor in sorted(factors, key=lambda factor: abs(factor - 1)):
        tried = scale * factor
        difference = np.clip(np.rint(target / tried), -limit, limit) * tried - target
        error = cost(difference)[:, :, None]
        better = error < least
        best, least = np.where(better, tried, best), np.where(better, error, least)
    return best
