"""Where a network's features are compared: the last layer at each resolution."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from edgecnn.image_size import Size, SizeLike

#: Stride: name and number of channels.
Points = dict[int, tuple[str, int]]


def last_of_each_stride(features: Iterable[tuple[str, tuple[int, ...]]], size: SizeLike) -> Points:
    """Return the last feature map, (N, C, H, W), at each stride.

    `features` are names and shapes in the order in which they are computed, from an image of `size`
    pixels. Maps of a single pixel are pooled and say no more than the logits.
    """
    found: Points = {}
    high, wide = Size.of(size)
    for name, shape in features:
        if len(shape) == 4 and min(shape[2:]) >= 1 and max(shape[2:]) > 1:
            stride, across = round(high / shape[2]), round(wide / shape[3])
            if stride == across > 1:
                found[stride] = name, shape[1]
    return found


@torch.no_grad()
def of_module(network: nn.Module, channels: int, size: SizeLike) -> Points:
    """Return the points of a PyTorch network; names are those of its modules."""
    seen: dict[str, tuple[int, ...]] = {}

    def keep(name: str):
        def hook(module: nn.Module, given: tuple[Tensor, ...], out: object) -> None:
            if isinstance(out, Tensor):
                # Of a layer that is called several times the last call counts, as in `with_features`.
                seen.pop(name, None)
                seen[name] = tuple(out.shape)

        return hook

    hooks = [m.register_forward_hook(keep(n)) for n, m in network.named_modules() if not list(m.children())]
    training = network.training
    try:
        network.eval()(torch.zeros(1, channels, *Size.of(size)))
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return last_of_each_stride(seen.items(), size)
