"""Cost formulas in the papers' notation: plain arithmetic, no torch.

K (D_K) is a kernel's side, M and N are the channels that go in and come out, D_F is the side of the
output map, all as in the MobileNet paper (Howard et al. 2017, arXiv:1704.04861). Costs are
multiply-accumulates for one image; biases are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable


def receptive_field(layers: Iterable[tuple[int, ...]]) -> tuple[int, int]:
    """Return (field, stride) in input pixels of one output of a stack of (kernel, stride[, dilation]).

    Each layer widens the field by (kernel - 1) * dilation steps of the map that it reads, and one step
    of that map is the product of all strides before it (Araujo et al. 2019, Computing Receptive Fields
    of Convolutional Neural Networks, single-path networks). Pooling counts as a layer. Two 3x3
    see 5x5 and three see 7x7, which is VGG's argument for small kernels (Simonyan and Zisserman 2014,
    arXiv:1409.1556, section 2.3).
    """
    field, step = 1, 1
    for kernel, stride, *dilation in layers:
        field += (kernel - 1) * (dilation[0] if dilation else 1) * step
        step *= stride
    return field, step


def convolution_weights(k: int, m: int, n: int, groups: int = 1) -> int:
    """Return K * K * M / groups * N, the weights of a convolution."""
    return k * k * (m // groups) * n


def convolution_macs(k: int, m: int, n: int, d_f: int, groups: int = 1) -> int:
    """Return K * K * M / groups * N * D_F * D_F (MobileNet, equation 2)."""
    return convolution_weights(k, m, n, groups) * d_f * d_f


def bottleneck_weights(m: int, squeezed: int, n: int, k: int = 3) -> int:
    """Return the weights of a 1x1 convolution M -> squeezed followed by a KxK one squeezed -> N.

    GoogLeNet's dimension reduction (Szegedy et al. 2014, arXiv:1409.4842, section 4): 192 -> 64 -> 96
    with a 3x3 has 12,288 + 55,296 = 67,584 weights, where the 3x3 alone would have 165,888.
    """
    return convolution_weights(1, m, squeezed) + convolution_weights(k, squeezed, n)


def depthwise_separable_weights(k: int, m: int, n: int, alpha: float = 1.0) -> int:
    """Return K * K * alpha M + alpha M * alpha N: a depthwise KxK and a 1x1 convolution."""
    m, n = round(alpha * m), round(alpha * n)
    return convolution_weights(k, m, m, groups=m) + convolution_weights(1, m, n)


def depthwise_separable_macs(k: int, m: int, n: int, d_f: int, alpha: float = 1.0, rho: float = 1.0) -> int:
    """Return (K * K * alpha M + alpha M * alpha N) * (rho D_F)^2 (MobileNet, section 3.4, equation 7).

    Channels and the map's side are rounded to whole numbers. The paper's layer (table 3: K 3, M and N
    512, D_F 14) costs 52.3 million, 29.6 at alpha 0.75, and 15.1 with rho 0.714 as well.
    """
    side = round(rho * d_f)
    return depthwise_separable_weights(k, m, n, alpha) * side * side


def depthwise_separable_ratio(k: int, n: int) -> float:
    """Return 1 / N + 1 / K^2: a depthwise separable layer's cost over a convolution's (section 3.1)."""
    return 1 / n + 1 / k**2


def multiplier_ratio(alpha: float, rho: float = 1.0) -> float:
    """Return alpha^2 * rho^2, about what the multipliers leave of a MobileNet's cost (sections 3.3, 3.4).

    Exact for 1x1 convolutions; depthwise and first layers only shrink by alpha * rho^2.
    """
    return alpha**2 * rho**2
