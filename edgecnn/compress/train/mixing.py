"""Mixup and CutMix: images of a batch mixed with their neighbours.

A batch is shuffled already, so its neighbours are random partners. Pairs of neighbours stay together
when processes share a batch, which therefore trains the same network as one process would.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def mix(
    images: Tensor, targets: Tensor, rng: np.random.Generator, *, mixup: float, cutmix: float
) -> tuple[Tensor, Tensor]:
    """Return images, (N, C, H, W), and target distributions, (N, classes), mixed in pairs.

    `mixup` (Zhang 2018) and `cutmix` (Yun 2019) are the parameters of the beta distribution that the
    shares are drawn from; of two above zero one is chosen at random for each batch. N should be even: a
    last image without a partner stays as it is.
    """
    ways = [way for way, alpha in ((_mixup, mixup), (_cutmix, cutmix)) if alpha > 0]
    if not ways:
        return images, targets
    way = ways[int(rng.integers(len(ways)))]
    alpha = mixup if way is _mixup else cutmix
    partner = torch.arange(len(images)) ^ 1
    partner[partner >= len(images)] = len(images) - 1
    mixed, share = way(images, images[partner], float(rng.beta(alpha, alpha)), rng)
    return mixed, share * targets + (1 - share) * targets[partner]


def _mixup(images: Tensor, others: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    return torch.lerp(others, images, share), share


def _cutmix(images: Tensor, others: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Paste a box of the partner's; the share is then what is left of the image."""
    height, width = images.shape[2:]
    side = np.sqrt(1 - share) / 2
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    top, bottom = (int(np.clip(round(y + sign * side * height), 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(round(x + sign * side * width), 0, width)) for sign in (-1, 1))
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
