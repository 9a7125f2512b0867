"""A network as a backbone: its feature maps in the place of its logits."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.feature_layers import FeatureLayer
from edgecnn.zoo.input_errors import fitting


class _LastMapReached(Exception):
    """All maps are there: what follows of the network need not run."""


class FeatureMaps(nn.Module):
    """The outputs of some layers of `network`, which runs as far as the last of them.

    What is never reached (the classifier, auxiliary heads) is taken out of it, in place: no parameter is left
    without a gradient. The names of the others are the network's, after "network.".
    """

    def __init__(
        self, network: nn.Module, layers: Sequence[FeatureLayer], in_channels: int, resolution: SizeLike
    ) -> None:
        super().__init__()
        self.network = network
        self.layers = tuple(layers)
        #: Pixels of the image from one column to the next, map by map.
        self.strides = tuple(layer.stride for layer in layers)
        reached, shapes = self._measured(in_channels, Size.of(resolution))
        _strip(network, reached)
        #: Channels, map by map.
        self.channels = tuple(shape[1] for shape in shapes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (N, C, H, W) to a map of (N, channels, H / stride, W / stride) for each layer."""
        modules = dict(self.network.named_modules())
        calls: Counter[str] = Counter()
        maps: dict[FeatureLayer, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def hook(_: nn.Module, __: Any, output: Tensor) -> None:
                calls[name] += 1
                maps.update(
                    {
                        layer: output
                        for layer in self.layers
                        if (layer.module, layer.call) == (name, calls[name])
                    }
                )
                if len(maps) == len(self.layers):
                    raise _LastMapReached

            return hook

        # For the time of this call: hooks that stay would belong to the network that a copy was made of.
        hooks = [
            modules[name].register_forward_hook(keep(name))
            for name in {layer.module for layer in self.layers}
        ]
        try:
            self.network(x)
        except _LastMapReached:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return tuple(_channels_first(maps[layer], layer, x) for layer in self.layers)

    def _measured(self, in_channels: int, size: Size) -> tuple[set[str], list[tuple[int, ...]]]:
        """Return the modules that run, and the shapes of the maps: without arithmetic, on the meta device."""
        twin = copy.deepcopy(self).to("meta").eval()
        reached: set[str] = set()
        for name, module in twin.network.named_modules():
            module.register_forward_pre_hook(lambda _, __, name=name: reached.add(name))
        with torch.no_grad(), fitting(size):
            maps = twin(torch.empty(1, in_channels, *size, device="meta"))
        return reached, [tuple(item.shape) for item in maps]


def _channels_first(output: Tensor, layer: FeatureLayer, image: Tensor) -> Tensor:
    if layer.layout == "NHWC":
        return output.permute(0, 3, 1, 2)
    if layer.layout == "NTC":
        height, width = (side // layer.stride for side in image.shape[2:])
        return output[:, 1:].transpose(1, 2).unflatten(2, (height, width))
    return output


def _strip(network: nn.Module, reached: set[str]) -> None:
    """Put an identity in the place of each module that neither runs nor holds one that does."""
    kept = {
        name[:end] for name in reached for end in range(len(name) + 1) if name[end : end + 1] in ("", ".")
    }
    for name, _ in list(network.named_modules()):
        parent, _, child = name.rpartition(".")
        if name and name not in kept and (not parent or parent in kept):
            setattr(network.get_submodule(parent), child, nn.Identity())
