"""Which layers of each architecture give feature maps at strides 2, 4, 8 ...: a table, which needs no torch.

A map is the last one of its stride, before what belongs to the classifier. The layers are those of timm's
`features_only` where it has the network, but for GhostNet's at stride 16, which is the last one here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgecnn.errors import InvalidValueError
from edgecnn.zoo.architecture import Architecture


@dataclass(frozen=True)
class FeatureLayer:
    """A module of the network, by its name, whose output has a stride of 2 ** `level` pixels."""

    level: int
    module: str
    #: Which call of it: an activation may serve several layers.
    call: int = 1
    #: Order of the output's axes: NCHW, NHWC, or NTC for a class token and a token for each patch.
    layout: str = "NCHW"

    @property
    def stride(self) -> int:
        """Pixels of the image from one column of the map to the next."""
        return int(2**self.level)


def _layers(*modules: str, first: int = 1, layout: str = "NCHW") -> tuple[FeatureLayer, ...]:
    """Return layers of consecutive levels; "act:2" is the second call of `act`."""
    rows = []
    for level, module in enumerate(modules, first):
        name, _, call = module.partition(":")
        rows.append(FeatureLayer(level, name, int(call or 1), layout))
    return tuple(rows)


def _numbered(prefix: str, *indices: int, first: int = 1) -> tuple[FeatureLayer, ...]:
    return _layers(*(f"{prefix}.{index}" for index in indices), first=first)


_RESNET = _layers("relu", "layer1", "layer2", "layer3", "layer4")
_GOOGLENET = _layers("conv1", "norm2", "inception3b", "inception4e", "inception5b")
_EFFICIENTNET = _numbered("features", 1, 2, 3, 5, 7)
_STAGES = _layers("stem", "stages.0", "stages.1", "stages.2", "stages.3")

#: By the function that builds the network. AlexNet, ZFNet, SqueezeNet, Inception and NASNet do not pad all
#: their layers: their maps are a little smaller than the image by the stride.
_TABLE: Mapping[str, tuple[FeatureLayer, ...]] = {
    "resnet:resnet": _RESNET,
    "senet:se_resnet": _RESNET,
    "senet:senet154": _RESNET,
    "mobilenet:mobilenet_v1": _numbered("blocks", 0, 1, 2, 3, 4),
    "mobilenet:mobilenet_v2": _numbered("features", 1, 3, 6, 13, 17),
    "mobilenet_v3:mobilenet_v3_small": _numbered("features", 0, 1, 3, 8, 12),
    "mobilenet_v3:mobilenet_v3_large": _numbered("features", 1, 3, 6, 12, 16),
    "mobilenet_v4:mobilenet_v4_conv": _layers("act", "blocks.0", "blocks.1", "blocks.2", "blocks.4"),
    "mnasnet:mnasnet": _numbered("layers", 7, 8, 9, 11, 13),
    "efficientnet:efficientnet_lite": _numbered("blocks", 0, 1, 2, 4, 6),
    "efficientnet:efficientnet_b": _EFFICIENTNET,
    "efficientnet:efficientnet": _EFFICIENTNET,
    "efficientnet_v2:efficientnet_v2": _layers("blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks"),
    "ghostnet:ghostnet": _numbered("blocks", 0, 2, 4, 6, 8),
    "regnet:regnet": _layers("stem", "s1", "s2", "s3", "s4"),
    "repvgg:repvgg": _STAGES,
    "mobileone:mobileone": _STAGES,
    "convnext:convnext": _numbered("stages", 0, 1, 2, 3, first=2),
    "swin:swin_tiny": _layers("features.1", "features.3", "features.5", "features.7", first=2, layout="NHWC"),
    "vit:vit": _layers("blocks", first=4, layout="NTC"),
    "vit:vit_base": _layers("encoder.layers", first=4, layout="NTC"),
    "googlenet:googlenet": _GOOGLENET,
    "googlenet:googlenet_bn": _GOOGLENET,
    "inception:inception_v2": _numbered("features", 0, 3, 6, 11, 14),
    "inception:inception_v3": _layers("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"),
    "inception_v4:inception_v4": _numbered("features", 2, 3, 9, 17, 21),
    "inception_v4:inception_resnet_v2": _layers("conv2d_2b", "conv2d_4a", "repeat", "repeat_1", "conv2d_7b"),
    "xception:xception": _layers("act:2", "block1", "block2", "block11", "act:4"),
    "densenet:densenet": _layers(
        "features.relu0", *(f"features.denseblock{number}" for number in (1, 2, 3)), "features.relu5"
    ),
    "shufflenet:shufflenet_v1": _layers("act", "maxpool", "stage2", "stage3", "stage4"),
    "shufflenet:shufflenet_v2": _layers("conv1", "maxpool", "stage2", "stage3", "stage4"),
    "squeezenet:squeezenet1_0": _numbered("features", 1, 5, 10, 12),
    "squeezenet:squeezenet1_1": _numbered("features", 1, 4, 7, 12),
    "alexnet:alexnet": _numbered("features", 2, 6, 13, 14, first=2),
    "alexnet:alexnet_owt": _numbered("features", 1, 4, 11, 12, first=2),
    "zfnet:zfnet": _numbered("features", 1, 3, 5, 13, 14),
}  # fmt: skip


def _vgg(arguments: Mapping[str, Any]) -> tuple[FeatureLayer, ...]:
    """The activation before each pooling, and the last pooling."""
    from edgecnn.zoo.vgg import DEPTHS

    per_convolution = 3 if arguments["batch_norm"] else 2
    before, at = [], 0
    for count in DEPTHS[arguments["depth"]]:
        at += count * per_convolution
        before.append(at - 1)
        at += 1  # the pooling
    return _numbered("features", *before[1:], at - 1)


def _nasnet(arguments: Mapping[str, Any]) -> tuple[FeatureLayer, ...]:
    """The stem's, the last cell of the first two stacks, which count from 0 and 6, and the end."""
    last = arguments["repeats"] - 1
    return _layers("conv0", "cell_stem_0", f"cell_{last}", f"cell_{6 + last}", "act")


_BY_ARGUMENTS = {"vgg:vgg": _vgg, "nasnet:nasnet": _nasnet}


def feature_layers(row: Architecture) -> tuple[FeatureLayer, ...]:
    """Return the layers of a network that give feature maps, finest first; none where it has no such maps."""
    key = row.build.removeprefix("edgecnn.zoo.")
    if key in _BY_ARGUMENTS:
        return _BY_ARGUMENTS[key](row.arguments)
    return _TABLE.get(key, ())


def chosen_layers(row: Architecture, levels: Iterable[int]) -> tuple[FeatureLayer, ...]:
    """Return the layers of these levels, in their order. Raises InvalidValueError for what is not there."""
    layers, wanted = {layer.level: layer for layer in feature_layers(row)}, tuple(levels)
    if not layers:
        raise InvalidValueError(
            f"{row.name} has no feature maps that are known",
            hint="`features` are for backbones: see docs/zoo.md",
        )
    if not wanted or len(set(wanted)) < len(wanted) or any(level not in layers for level in wanted):
        said = ", ".join(map(str, wanted)) or "nothing"
        raise InvalidValueError(
            f"{row.name} has no feature maps at the levels {said}",
            hint=f"each once, of {', '.join(map(str, layers))}: level 3 has a stride of 8 pixels",
        )
    return tuple(layers[level] for level in wanted)
