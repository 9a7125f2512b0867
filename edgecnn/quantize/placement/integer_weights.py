"""Weights and biases as integers: one scale per output channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecnn.quantize.graph.weighted_layer import along

#: A quantized bias is kept clear of the ends of int32, to leave room for the sums it is added to, and for
#: the input's scale in another scheme, which may be half of this one's.
_BIAS_LIMIT = 2.0**29


@dataclass(frozen=True)
class QuantizedWeight:
    """`values * scale` approximates the weight; `scale` has one entry per output channel."""

    values: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    axis: int

    @property
    def largest(self) -> int:
        """The largest integer, the sign aside."""
        return int(np.abs(self.values.astype(np.int16)).max(initial=0))


def quantize_weight(
    weight: npt.NDArray[np.float32],
    axis: int,
    bias: npt.NDArray[np.float32] | None = None,
    input_scale: float = 1.0,
    limit: int = 127,
) -> QuantizedWeight:
    """Round a weight to -limit..limit, int8, with a symmetric scale per channel along `axis`.

    Where `bias` becomes int32 with the scale `input_scale * scale`, in the file or in an engine, a channel
    whose weights are tiny gets a scale large enough for its bias to fit.
    """
    others = tuple(index for index in range(weight.ndim) if index != axis)
    scale = np.abs(weight).max(axis=others).astype(np.float64) / limit
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias).astype(np.float64) / (input_scale * _BIAS_LIMIT))
    # A channel of zeros needs some scale; the smallest normal float16 survives every engine's arithmetic.
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, 2.0**-14).astype(np.float32)
    rounded = np.rint(weight / along(scale, axis, weight.ndim))
    return QuantizedWeight(np.clip(rounded, -limit, limit).astype(np.int8), scale, axis)


def quantize_bias(
    bias: npt.NDArray[np.float32], input_scale: float, weight_scale: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Return a bias as int32 and its scale per channel, input scale times weight scale."""
    scale = (np.float32(input_scale) * weight_scale).astype(np.float32)
    return np.rint(bias.astype(np.float64) / scale).astype(np.int32), scale


def make_room_for_bias(
    weight: QuantizedWeight, bias: npt.NDArray[np.float32], input_scale: float
) -> QuantizedWeight:
    """Return integer weights in whose scales `bias` fits int32; channels in which it fits stay as they are.

    The others, whose weights are tiny, get a larger scale, and their integers are rounded once more.
    """
    # More than `quantize_weight` allows, so that what it gave is not rounded twice.
    least = np.abs(bias).astype(np.float64) / (input_scale * 3 * _BIAS_LIMIT)
    scale = np.maximum(weight.scale, least).astype(np.float32)
    if np.array_equal(scale, weight.scale):
        return weight
    ratio = along(weight.scale.astype(np.float64) / scale, weight.axis, weight.values.ndim)
    return QuantizedWeight(np.rint(weight.values * ratio).astype(np.int8), scale, weight.axis)
