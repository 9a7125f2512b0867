"""A network of the catalogue under a head: its feature maps, dilated where a segmenter wants them finer."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.catalog import architecture
from edgecnn.zoo.create import build
from edgecnn.zoo.feature_layers import FeatureLayer, chosen_layers
from edgecnn.zoo.features import FeatureMaps

#: Side of the image on which strides are measured: a multiple of every stride.
_SIDE = 256


def feature_maps(
    name: str,
    levels: Sequence[int],
    *,
    alpha: float,
    in_channels: int,
    resolution: SizeLike,
    modules: Mapping[int, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> FeatureMaps:
    """Return the maps at strides 2 ** level of a network of the catalogue, without its classifier.

    `modules` names, by level, other layers of it than the table of `feature_layers` does; `arguments` go to
    the function that builds it. Raises InvalidValueError for a network that has no such maps.
    """
    row = architecture(name)
    row = dataclasses.replace(row, arguments={**row.arguments, **(arguments or {})})
    chosen = modules or {}
    layers = [
        FeatureLayer(level, chosen[level]) if level in chosen else chosen_layers(row, [level])[0]
        for level in levels
    ]
    network = build(row, alpha=alpha, in_channels=in_channels, resolution=resolution)
    return FeatureMaps(network, layers, in_channels, resolution)


def dilate(maps: FeatureMaps, stride: int, *, first: bool = False) -> FeatureMaps:
    """Let the maps be no coarser than `stride` pixels, in place: convolutions dilate, and do not stride.

    Each filter keeps the pixels of the image that it reads (Chen et al. 2016, arXiv:1606.00915, section 3.1).
    The convolution that strode itself keeps its dilation, as in ResNets that are dilated, or with `first`
    takes the next one, as in MobileNetV3. Raises InvalidValueError for a network that strides otherwise than
    by convolutions that are padded.
    """
    for conv, before, after in _convolutions(maps):
        coarse = max(after if first else before, 1) // stride
        if max(conv.kernel_size) > 1 and coarse > 1:
            conv.dilation = (coarse, coarse)
            assert not isinstance(conv.padding, str)
            conv.padding = tuple(coarse * side for side in conv.padding)
        if after > stride:
            conv.stride = (1, 1)
    maps.strides = tuple(min(own, stride) for own in maps.strides)
    _check(maps)
    return maps


def _convolutions(maps: FeatureMaps) -> list[tuple[nn.Conv2d, int, int]]:
    """Return the convolutions with the strides of what they read and give, in the order in which they run."""
    sides: dict[str, tuple[int, int]] = {}
    twin = copy.deepcopy(maps).to("meta").eval()

    def note(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            sides[name] = (inputs[0].shape[2], output.shape[2])

        return hook

    for name, module in twin.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note(name))
    _run(twin)
    modules = dict(maps.named_modules())
    found = []
    for name, (before, after) in sides.items():
        conv = modules[name]
        assert isinstance(conv, nn.Conv2d)
        found.append((conv, round(_SIDE / before), round(_SIDE / after)))
    return found


def _run(twin: FeatureMaps) -> tuple[Tensor, ...]:
    channels = next(m.in_channels for m in twin.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        outputs: tuple[Tensor, ...] = twin(torch.empty(1, channels, *Size.of(_SIDE), device="meta"))
    return outputs


def _check(maps: FeatureMaps) -> None:
    for output, stride in zip(_run(copy.deepcopy(maps).to("meta").eval()), maps.strides, strict=True):
        if tuple(output.shape[2:]) != (_SIDE // stride, _SIDE // stride):
            raise InvalidValueError(
                "this backbone strides by other layers than convolutions, and cannot be dilated",
                hint="ResNet, MobileNet, EfficientNet or RegNet can; or a head that needs none: unet",
            )
