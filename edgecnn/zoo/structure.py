"""How a pruned network differs from the one that its architecture builds, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from edgecnn.errors import WeightsError

#: What pruning may change of a layer. Of any other module it may change the shape of its own parameters.
_ATTRIBUTES: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("in_channels", "out_channels", "groups"),
    nn.ConvTranspose2d: ("in_channels", "out_channels", "groups"),
    nn.Linear: ("in_features", "out_features"),
    nn.BatchNorm2d: ("num_features",),
    nn.LayerNorm: ("normalized_shape",),
    nn.GroupNorm: ("num_groups", "num_channels"),
}
#: More of anything in one layer is a damaged file.
_MOST = 1_000_000


def differences(network: nn.Module, reference: nn.Module) -> dict[str, dict[str, Any]]:
    """Return module: attribute: value where `network` differs from `reference`; the root module is "".

    The value of a parameter that a module holds itself, such as position embeddings, is its shape.
    Raises WeightsError if the two do not have the same modules.
    """
    ours, theirs = dict(network.named_modules()), dict(reference.named_modules())
    if ours.keys() != theirs.keys():
        other = sorted(ours.keys() ^ theirs.keys())
        raise WeightsError(f"the networks are not of one architecture: {other[0]} is in one of them only")
    found: dict[str, dict[str, Any]] = {}
    for name, module in ours.items():
        before = dict(_sizes(theirs[name]))
        changed = {key: value for key, value in _sizes(module) if value != before.get(key)}
        if changed:
            found[name] = changed
    return found


def restructure(network: nn.Module, structure: Mapping[str, Mapping[str, Any]]) -> None:
    """Give the layers of `network` the sizes of `structure`, in place.

    The tensors of a changed layer are new and zero: weights of the pruned network fit strictly then.
    Raises WeightsError for an unknown module, an attribute that pruning leaves alone, sizes that cannot be.
    """
    modules = dict(network.named_modules())
    for name, changes in structure.items():
        if name not in modules:
            raise WeightsError(
                f"the structure names a module that the network does not have: {name!r}",
                hint="was it pruned from another architecture, or from another width?",
            )
        module = modules[name]
        sizes = dict(_sizes(module))
        for key, value in changes.items():
            if key not in sizes:
                raise WeightsError(f"the structure sets {key!r} of {name!r}, which pruning does not change")
            _check(value, sizes[key], f"{name}.{key}")
        _resize(module, {**sizes, **changes}, name)


def from_shapes(network: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, dict[str, Any]]:
    """Return the structure that gives the tensors of `network`, by name, these shapes (of the same ranks)."""
    found: dict[str, dict[str, Any]] = {}
    for name, module in network.named_modules():
        old = dict(_sizes(module))
        new: dict[str, Any]
        prefix = f"{name}." if name else ""
        if layer_type(module) is None:
            new = {key: list(shapes[prefix + key]) for key in old}
        elif (shape := shapes.get(f"{prefix}weight")) is None:
            continue  # a normalization without weights has no size of its own to speak of
        elif isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels == module.out_channels
            groups = shape[0] if depthwise else module.groups
            new = {"in_channels": shape[1] * groups, "out_channels": shape[0], "groups": groups}
        elif isinstance(module, nn.ConvTranspose2d):
            depthwise = module.groups == module.in_channels == module.out_channels
            groups = shape[0] if depthwise else module.groups
            new = {"in_channels": shape[0], "out_channels": shape[1] * groups, "groups": groups}
        elif isinstance(module, nn.Linear):
            new = {"in_features": shape[1], "out_features": shape[0]}
        elif isinstance(module, nn.GroupNorm):
            each = module.num_channels // module.num_groups
            new = {"num_groups": shape[0] // each, "num_channels": shape[0]}
        elif isinstance(module, nn.BatchNorm2d):
            new = {"num_features": shape[0]}
        else:
            new = {"normalized_shape": list(shape)}
        if changed := {key: value for key, value in new.items() if value != old[key]}:
            found[name] = changed
    return found


def layer_type(module: nn.Module) -> type[nn.Module] | None:
    """Return which kind of layer with prunable channels a module is; None if it is none."""
    return next((kind for kind in _ATTRIBUTES if isinstance(module, kind)), None)


def _sizes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    kind = layer_type(module)
    if kind is None:
        for name, parameter in module.named_parameters(recurse=False):
            yield name, list(parameter.shape)
    else:
        for name in _ATTRIBUTES[kind]:
            value = getattr(module, name)
            yield name, list(value) if isinstance(value, tuple) else value


def _check(value: Any, like: Any, what: str) -> None:
    """Refuse a size that is no positive whole number, or a shape of another rank."""
    sizes, ranks = (
        (value if isinstance(value, list) else [value]),
        (like if isinstance(like, list) else [like]),
    )
    if (
        isinstance(value, list) != isinstance(like, list)
        or len(sizes) != len(ranks)
        or not all(type(size) is int and 1 <= size <= _MOST for size in sizes)
    ):
        raise WeightsError(f"the structure gives {what} the value {value!r}, which cannot be")


def _resize(module: nn.Module, sizes: dict[str, Any], name: str) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        outputs, inputs, groups = sizes["out_channels"], sizes["in_channels"], sizes["groups"]
        if outputs % groups or inputs % groups:
            raise WeightsError(f"{name} cannot have {inputs} and {outputs} channels in {groups} groups")
        first, second = (outputs, inputs) if isinstance(module, nn.Conv2d) else (inputs, outputs)
        shapes = {"weight": (first, second // groups, *module.kernel_size), "bias": (outputs,)}
    elif isinstance(module, nn.Linear):
        shapes = {"weight": (sizes["out_features"], sizes["in_features"]), "bias": (sizes["out_features"],)}
    elif isinstance(module, nn.BatchNorm2d):
        names = ("weight", "bias", "running_mean", "running_var")
        shapes = dict.fromkeys(names, (sizes["num_features"],))
    elif isinstance(module, nn.GroupNorm):
        channels, groups = sizes["num_channels"], sizes["num_groups"]
        if channels % groups:
            raise WeightsError(f"{name} cannot have {channels} channels in {groups} groups")
        shapes = dict.fromkeys(("weight", "bias"), (channels,))
    elif isinstance(module, nn.LayerNorm):
        shapes = dict.fromkeys(("weight", "bias"), tuple(sizes["normalized_shape"]))
    else:
        shapes, sizes = {key: tuple(value) for key, value in sizes.items()}, {}
    for key, value in sizes.items():
        setattr(module, key, tuple(value) if isinstance(value, list) else value)
    for key, shape in shapes.items():
        tensor = getattr(module, key)
        if tensor is None or tensor.shape == shape:
            continue
        new = torch.zeros(shape, dtype=tensor.dtype, device=tensor.device)
        is_parameter = isinstance(tensor, nn.Parameter)
        setattr(module, key, nn.Parameter(new, tensor.requires_grad) if is_parameter else new)
