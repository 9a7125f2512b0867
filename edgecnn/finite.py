"""Where an array holds numbers that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def first_broken(value: npt.NDArray[np.floating[Any]], *, infinite: bool = True) -> str:
    """Return how much of an array is undefined, or `infinite`, and where first; empty if nothing is."""
    broken = ~np.isfinite(value) if infinite else np.isnan(value)
    count = int(np.count_nonzero(broken))
    if not count:
        return ""
    place = tuple(int(axis[0]) for axis in np.nonzero(np.atleast_1d(broken)))
    first = np.atleast_1d(value)[place]
    return f"{count} of {value.size} values that are not finite, the first ({first}) at {list(place)}"
