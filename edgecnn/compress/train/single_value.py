"""Batch normalization of a batch of one image, whose maps may be single numbers by then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn


@contextlib.contextmanager
def single_values_normalized(network: nn.Module) -> Iterator[None]:
    """Let layers that see one value per channel normalize it by their running statistics inside.

    One value has no variance, and without its mean nothing is left of it: PyTorch refuses to train on that.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.callback(layer.register_forward_pre_hook(_by_running_statistics).remove)
        yield


def _by_running_statistics(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    if layer.training and inputs[0].numel() == inputs[0].shape[1]:
        layer.eval()
