"""The names of a checkpoint's tensors: the network's own, whatever a program put before them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from edgecnn.errors import WeightsError
from edgecnn.progress import Progress
from edgecnn.zoo.timm_names import from_timm

State = Mapping[str, Tensor]

#: Segments that DistributedDataParallel and torch.compile put before the names of what they hold.
_WRAPPERS = ("module", "_orig_mod")
#: What such programs save beside the network's own: a counter of averages.
_COUNTERS = ("n_averaged",)


def match(network: nn.Module, state: State, source: str, tell: Progress) -> dict[str, Tensor]:
    """Return `state` with the names of `network`'s tensors, where it is clear which is which.

    `tell` is called with what was done. Names that stay unknown are left for the check of the fit.
    Raises WeightsError where several networks with all the names are in it.
    """
    own = set(network.state_dict())
    found = {key: value for key, value in state.items() if key not in _COUNTERS or key in own}
    for rename in (
        _without_wrappers,
        _from_other_names,
        _without_prefix,
        _from_efficientnet_pytorch,
        _from_timm,
    ):
        if _covers(found, own):
            break
        found = rename(found, network, source, tell)
    return found


def _covers(state: Collection[str], own: Collection[str]) -> bool:
    """Return whether all names are there; counters of batches, which old checkpoints lack, may be missing."""
    return all(key in state or key.endswith("num_batches_tracked") for key in own)


def _without_wrappers(state: State, network: nn.Module, source: str, tell: Progress) -> dict[str, Tensor]:
    """Take out the segments of wrappers, wherever they stand."""
    used = {part for key in network.state_dict() for part in key.split(".")}
    wrappers = [name for name in _WRAPPERS if name not in used]
    renamed = {key: ".".join(part for part in key.split(".") if part not in wrappers) for key in state}
    if all(key == new for key, new in renamed.items()) or len(set(renamed.values())) < len(renamed):
        return dict(state)
    gone = [f"{name}." for name in wrappers if any(name in key.split(".") for key in state)]
    tell(f"taken out of the names of {source}: {', '.join(gone)}")
    return {renamed[key]: value for key, value in state.items()}


def _from_other_names(state: State, network: nn.Module, source: str, tell: Progress) -> dict[str, Tensor]:
    """Translate what other libraries call the tensors of a network with a head, by its `OTHER_NAMES`."""
    rules = getattr(network, "OTHER_NAMES", ())
    renamed = {_by(rules, key): value for key, value in state.items()}
    if not rules or not _covers(renamed, set(network.state_dict())):
        return dict(state)
    tell(f"the names of {source} are another library's, and were translated")
    return renamed


def _by(rules: Sequence[tuple[str, Any]], key: str) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _without_prefix(state: State, network: nn.Module, source: str, tell: Progress) -> dict[str, Tensor]:
    """Take away what stands before every name that the network has."""
    own = set(network.state_dict())
    shortest = min(own, key=len, default="")
    prefixes = [key.removesuffix(shortest) for key in state if key.endswith(f".{shortest}")]
    inside = {prefix: _below(prefix, state) for prefix in prefixes}
    whole = [prefix for prefix in prefixes if _covers(inside[prefix], own)]
    if len(whole) > 1:
        raise WeightsError(
            f"{source} holds several networks with these names: {', '.join(whole[:4])}",
            hint=f"save one alone: {{k.removeprefix({whole[0]!r}): v ... if k.startswith({whole[0]!r})}}",
        )
    firsts = {key.split(".")[0] for key in state}
    if not whole and len(firsts) == 1 and not firsts & {key.split(".")[0] for key in own}:
        whole = [f"{next(iter(firsts))}."]  # of another network, whose names are shown without it
    for prefix in whole:
        taken = _below(prefix, state)
        left = len(state) - len(taken)
        others = f"; {left} other tensors in it were left out" if left else ""
        tell(f"taken away from before the names of {source}: {prefix}{others}")
        return taken
    return dict(state)


def _below(prefix: str, state: State) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _from_timm(state: State, network: nn.Module, source: str, tell: Progress) -> dict[str, Tensor]:
    """Translate timm's names. Raises WeightsError for weights that want another padding."""
    found = from_timm(state, network)
    if found is None:
        return dict(state)
    if "/tf_" in source:
        raise WeightsError(
            f"{source} was trained with TensorFlow's padding, which this network does not have",
            hint="the same network without tf_ in its name",
        )
    tell(f"the names of {source} are timm's, and were translated (not for its tf_ weights: other padding)")
    return found


#: efficientnet-pytorch's names of a block's layers: with an expansion, and without.
_EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
    "_project_conv": "conv_pwl", "_bn2": "bn3",
}  # fmt: skip
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_ENDS = {
    "_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier",
}  # fmt: skip


def _from_efficientnet_pytorch(
    state: State, network: nn.Module, source: str, tell: Progress
) -> dict[str, Tensor]:
    """Translate the names of the package efficientnet-pytorch, which counts blocks through all stages."""
    stages = getattr(network, "blocks", None)
    if "_conv_stem.weight" not in state or not isinstance(stages, nn.Sequential):
        return dict(state)
    places = [
        f"blocks.{at}.{index}" for at, stage in enumerate(stages) for index, _ in enumerate(stage.children())
    ]

    def rename(key: str) -> str:
        if not (found := re.fullmatch(r"_blocks\.(\d{1,4})\.(\w+)\.(\w+)", key)):
            layer, _, rest = key.partition(".")
            return f"{_ENDS.get(layer, layer)}.{rest}"
        index, layer, rest = int(found[1]), found[2], found[3]
        if index >= len(places):
            return key
        names = _EXPANDED if f"_blocks.{index}._expand_conv.weight" in state else _SEPARABLE
        return f"{places[index]}.{names.get(layer, layer)}.{rest}"

    tell(f"the names of {source} are those of efficientnet-pytorch, and were translated")
    return {rename(key): value for key, value in state.items()}
