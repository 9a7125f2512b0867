"""timm's names of the tensors of networks that have torchvision's names here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import groupby

from torch import Tensor, nn

State = Mapping[str, Tensor]

#: A block's layers in the order in which they compute, with an expansion, and without one.
_EXPANDED = ("conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn3")
_SEPARABLE = ("conv_dw", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pw", "bn2")
#: What timm adds to the variance where torchvision's MobileNetV3 adds 0.001.
_EPS = 1e-5

_VGG = (("pre_logits.fc1", "classifier.0"), ("pre_logits.fc2", "classifier.3"), ("head.fc", "classifier.6"))
_SWIN = (
    (r"patch_embed\.proj", "features.0.0"), (r"patch_embed\.norm", "features.0.2"),
    (r"mlp\.fc1", "mlp.0"), (r"mlp\.fc2", "mlp.3"), (r"head\.fc", "head"),
)  # fmt: skip
_VIT = (
    (r"^cls_token", "class_token"), (r"^pos_embed", "encoder.pos_embedding"),
    (r"^patch_embed\.proj", "conv_proj"), (r"^norm\.", "encoder.ln."), (r"^head\.", "heads.head."),
    (r"^blocks\.(\d+)\.", r"encoder.layers.encoder_layer_\1."), (r"\.norm([12])\.", r".ln_\1."),
    (r"attn\.qkv\.", "self_attention.in_proj_"), (r"attn\.proj\.", "self_attention.out_proj."),
    (r"mlp\.fc1\.", "mlp.0."), (r"mlp\.fc2\.", "mlp.3."),
)  # fmt: skip


def from_timm(state: State, network: nn.Module) -> dict[str, Tensor] | None:
    """Return the tensors under the network's own names and in its shapes; None where they are not timm's."""
    own = network.state_dict()
    if "features.0.0.weight" in own and "patch_embed.proj.weight" in state:
        found = _swin(state)
    elif "conv_proj.weight" in own and "patch_embed.proj.weight" in state:
        found = {_renamed(key, _VIT): value for key, value in state.items()}
    elif "classifier.6.weight" in own and "pre_logits.fc1.weight" in state:
        found = {_renamed(key, _VGG): value for key, value in state.items()}
    elif "conv_stem.weight" not in own and {"conv_stem.weight", "bn1.weight"} <= state.keys():
        ordered = _in_order(state, network)
        if ordered is None:
            return None
        found = ordered
    else:
        return None
    fixed = {key: own[key] for key in own if key.endswith("relative_position_index")}
    return {**fixed, **{key: _reshaped(value, own.get(key)) for key, value in found.items()}}


def _renamed(key: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _reshaped(value: Tensor, like: Tensor | None) -> Tensor:
    """Return a 1x1 convolution's weights as a linear layer's, and such."""
    if like is None or value.shape == like.shape or value.numel() != like.numel():
        return value
    return value.reshape(like.shape)


def _swin(state: State) -> dict[str, Tensor]:
    """Stages and the merging of patches before each but the first are numbered through."""

    def rename(key: str) -> str:
        key = re.sub(r"^layers\.(\d+)\.blocks\.", lambda at: f"features.{2 * int(at[1]) + 1}.", key)
        key = re.sub(r"^layers\.(\d+)\.downsample\.", lambda at: f"features.{2 * int(at[1])}.", key)
        return _renamed(key, _SWIN)

    return {rename(key): value for key, value in state.items() if not key.endswith("attn_mask")}


def _in_order(state: State, network: nn.Module) -> dict[str, Tensor] | None:
    """Pair the layers of a mobile network with ours, both in the order in which they compute."""
    theirs = _mobile_layers(state)
    ours = [name for name, module in network.named_modules() if list(module.parameters(recurse=False))]
    if theirs is None or len(theirs) != len(ours):
        return None
    names = dict(zip(theirs, ours, strict=True))
    found = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        module = network.get_submodule(names[layer])
        if kind == "running_var" and isinstance(module, nn.BatchNorm2d) and module.eps != _EPS:
            value = value + (_EPS - module.eps)  # so that the sum of both is timm's
        found[f"{names[layer]}.{kind}"] = value
    return found


def _mobile_layers(state: State) -> list[str] | None:
    """Return timm's layers in the order in which they compute; None if there are unknown ones."""
    names = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
    places = [match for name in names if (match := re.fullmatch(r"blocks\.(\d{1,4})\.(\d{1,4})\.(.+)", name))]
    ordered = ["conv_stem", "bn1"]
    places.sort(key=lambda place: (int(place[1]), int(place[2])))
    for block, group in groupby(places, key=lambda place: (place[1], place[2])):
        layers = {place[3] for place in group}
        known = _EXPANDED if "conv_pwl" in layers else _SEPARABLE if "conv_dw" in layers else ("conv", "bn1")
        ordered += [f"blocks.{block[0]}.{block[1]}.{layer}" for layer in known if layer in layers]
    ordered += [name for name in ("conv_head", "bn2", "classifier") if name in names]
    return ordered if sorted(ordered) == sorted(names) else None
