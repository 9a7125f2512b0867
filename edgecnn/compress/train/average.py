"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """Averaged weights and buffers of `network`, in a copy of it that is in evaluation mode.

    The decay rises from 0 to `decay`, as (1 + t) / (10 + t), so that the first, random weights are
    soon forgotten (TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        average = get_ema_multi_avg_fn(min(self._decay, (1 + step) / (10 + step)))
        own, given = list(self.network.state_dict().values()), list(network.state_dict().values())
        floats = [index for index, value in enumerate(own) if value.is_floating_point()]
        average([own[i] for i in floats], [given[i] for i in floats], step)
        for mine, theirs in zip(own, given, strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)
