"""The width multiplier, `alpha`: how a channel count is scaled and rounded."""

from __future__ import annotations

import math

from edgecnn.errors import InvalidValueError

#: Wider than this is taken for a slip of the finger.
MAX_ALPHA = 8.0


def check_alpha(alpha: float) -> float:
    """Return `alpha` if it is a usable width multiplier; raises InvalidValueError otherwise."""
    if not math.isfinite(alpha) or not 0 < alpha <= MAX_ALPHA:
        raise InvalidValueError(
            f"alpha must be above 0 and at most {MAX_ALPHA:g}, not {alpha:g}",
            hint="alpha scales every channel count: 0.25, 0.5, 0.75 and 1.0 are usual",
        )
    return alpha


def scale(channels: int, alpha: float, divisor: int = 8) -> int:
    """Return `channels * alpha` rounded to a multiple of `divisor`, and exactly `channels` at alpha 1.

    Never under 90 % of the wanted value, and never under `divisor`: the rule of the MobileNetV2
    authors' code (Sandler et al. 2018), which EfficientNet and MobileNetV3 kept. Raises
    InvalidValueError if less than one channel would be left.
    """
    if alpha == 1:
        return channels
    wanted = channels * alpha
    if wanted < 1:
        raise InvalidValueError(
            f"alpha {alpha:g} leaves none of a layer's {channels} channels",
            hint=f"the smallest alpha for this network is {math.ceil(1e4 / channels) / 1e4:g}",
        )
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded
