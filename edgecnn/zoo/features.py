"""A network as a backbone: its feature maps in the place of its logits."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.feature_layers import FeatureLayer
from edgecnn.zoo.input_errors import fitting


class Skipped(nn.Module):
    """What stands in the place of a layer behind the last map: gives back its first input."""

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        """Return `x`."""
        return x


class FeatureMaps(nn.Module):
    """The outputs of some layers of `network`, which computes no further than the last of them.

    What comes after (the classifier, auxiliary heads) is taken out of it, in place: no parameter is left
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
        used, shapes = self._measured(in_channels, Size.of(resolution))
        _strip(network, used)
        #: Channels, map by map.
        self.channels = tuple(shape[1] for shape in shapes)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (N, C, H, W) to a map of (N, channels, H / stride, W / stride) for each layer."""
        maps: dict[FeatureLayer, Tensor] = {}
        with self._kept_in(maps):
            self.network(x)
        return tuple(_channels_first(maps[layer], layer, x) for layer in self.layers)

    @contextmanager
    def _kept_in(self, maps: dict[FeatureLayer, Tensor]) -> Iterator[None]:
        """Put what the layers give into `maps`.

        For the time of a call: hooks that stay would be those of the network that a copy was made of.
        """
        modules = dict(self.network.named_modules())
        calls: Counter[str] = Counter()

        def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
            def hook(_: nn.Module, __: Any, output: Tensor) -> None:
                calls[name] += 1
                at = (name, calls[name])
                maps.update({layer: output for layer in self.layers if (layer.module, layer.call) == at})

            return hook

        names = {layer.module for layer in self.layers}
        hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _measured(self, in_channels: int, size: Size) -> tuple[set[str], list[tuple[int, ...]]]:
        """Return the modules that run before the last map is there, and the shapes of the maps.

        It takes no arithmetic: the network runs on the meta device, and as far as that only, because images
        that are too small for a classifier may do for a map.
        """
        twin = copy.deepcopy(self).to("meta").eval()
        used: set[str] = set()
        maps: dict[FeatureLayer, Tensor] = {}

        def note(name: str) -> Callable[[nn.Module, Any], None]:
            def hook(_: nn.Module, __: Any) -> None:
                if len(maps) == len(self.layers):
                    raise _LastMapReached
                used.add(name)

            return hook

        for name, module in twin.network.named_modules():
            module.register_forward_pre_hook(note(name))
        image = torch.empty(1, in_channels, *size, device="meta")
        with torch.no_grad(), fitting(size), twin._kept_in(maps), suppress(_LastMapReached):
            twin.network(image)
        return used, [tuple(_channels_first(maps[layer], layer, image).shape) for layer in self.layers]


class _LastMapReached(Exception):
    """Nothing of what follows is needed."""


def _channels_first(output: Tensor, layer: FeatureLayer, image: Tensor) -> Tensor:
    if layer.layout == "NHWC":
        return output.permute(0, 3, 1, 2)
    if layer.layout == "NTC":
        height, width = (side // layer.stride for side in image.shape[2:])
        return output[:, 1:].transpose(1, 2).unflatten(2, (height, width))
    return output


def _strip(network: nn.Module, used: set[str]) -> None:
    """Skip each module that is neither used nor holds one that is."""
    kept = {name[:end] for name in used for end in range(len(name) + 1) if name[end : end + 1] in ("", ".")}
    for name, _ in list(network.named_modules()):
        parent, _, child = name.rpartition(".")
        if name and name not in kept and (not parent or parent in kept):
            setattr(network.get_submodule(parent), child, Skipped())
