"""Compound scaling (Tan and Le 2019, arXiv:1905.11946): one knob for depth, width and resolution."""

from __future__ import annotations

import math

from edgecnn.errors import InvalidValueError

#: Section 3.3: found by a grid search on B0, so that depth * width^2 * resolution^2 is about 2.
DEPTH, WIDTH, RESOLUTION = 1.2, 1.1, 1.15
#: Beyond these the network has no layer to spare, or no machine to run on.
MIN_PHI, MAX_PHI = -6.0, 10.0


def compound(phi: float) -> tuple[float, float, float]:
    """Return what `phi` multiplies depth, width and the image's side by: 1.2^phi, 1.1^phi, 1.15^phi.

    Multiply-accumulates grow by about 2^phi (equation 3). `phi` is any real number; a negative one
    shrinks. Raises InvalidValueError if it is not finite, below -6 or above 10.
    """
    if not math.isfinite(phi) or not MIN_PHI <= phi <= MAX_PHI:
        raise InvalidValueError(
            f"phi must be between {MIN_PHI:g} and {MAX_PHI:g}, not {phi:g}",
            hint="phi 0 is EfficientNet-B0, and each unit doubles the cost",
        )
    return DEPTH**phi, WIDTH**phi, RESOLUTION**phi
