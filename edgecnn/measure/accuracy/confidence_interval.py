"""How sure a share is that was counted."""

from __future__ import annotations

import math

#: Standard deviations of a normal distribution that hold 95 % of it.
_Z = 1.959964


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of which `right` of `n` were seen (Wilson 1927, score interval)."""
    share, square = right / n, _Z * _Z
    centre = share + square / (2 * n)
    spread = _Z * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    low, high = (centre - spread) / (1 + square / n), (centre + spread) / (1 + square / n)
    # Rounding may lead past the ends.
    return max(0.0, low), min(1.0, high)
