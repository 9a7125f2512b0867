"""What a manifest says of the decoder of a network with a head: its settings, and the grids of its maps."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from edgecnn.image_size import Size
from edgecnn.zoo.spec import NetworkSpec


def decoder(spec: NetworkSpec, network: nn.Module) -> dict[str, Any] | None:
    """Return `Manifest.decoder` of a network that was made from `spec`; None for one that needs none."""
    if not spec.in_catalogue or spec.architecture.decoder is None:
        return None
    recorded = spec.manifest.decoder if spec.manifest is not None else None
    settings = dict(recorded or spec.architecture.decoder)
    changed = spec.classes != spec.known_classes if recorded else spec.num_classes is not None
    if changed:
        settings.pop("classes", None)  # the columns of COCO's numbers
    grids = [list(size) for size in _grids(network, spec.preprocessing.channels, spec.size)]
    return {**_plain(settings), "grids": grids}


def task(spec: NetworkSpec) -> str | None:
    """Return `Manifest.task`: None for a classifier, whose outputs tell."""
    if not spec.in_catalogue or spec.architecture.task == "classification":
        return None
    return spec.architecture.task


def _grids(network: nn.Module, channels: int, size: Size) -> list[Size]:
    """Return the height and width of each map that the head reads, on the meta device."""
    twin: Any = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad():
        maps = twin.maps(torch.empty(1, channels, *size, device="meta"))
    return [Size(*item.shape[2:]) for item in maps]


def _plain(value: Any) -> Any:
    """Return a value as JSON gives it back: lists for tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
