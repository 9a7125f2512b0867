"""What a network gives, whatever it is wrapped in, as tensors by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.artifact import TensorSpec
from edgecnn.errors import InvalidValueError

#: What the one output of a network is called.
LOGITS = "logits"
#: What engines call the image.
_TAKEN = "input"
#: Name in `OnlyTensors` of what it wraps, which starts the names of all within.
WRAPPED = "network"


def named(outputs: Any) -> dict[str, Tensor]:
    """Return tensors by name: "logits" for a single one, else keys and fields, or output_0, output_1.

    Nested ones are PARENT_CHILD; what is None is left out. Raises InvalidValueError for anything else than
    tensors in mappings, lists, tuples and records.
    """
    if isinstance(outputs, Tensor):
        return {LOGITS: outputs}
    found: dict[str, Tensor] = {}
    for name, tensor in _walk(outputs, ""):
        name = f"{name}_output" if name == _TAKEN else name
        while name in found:
            name += "_"
        found[name] = tensor
    if not found:
        raise InvalidValueError("the network gives no tensor", hint="its forward returns its outputs")
    return found


def _walk(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif value is not None:
        for key, item in _parts(value):
            yield from _walk(item, f"{name}_{key}" if name else key)


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    fields: Any = getattr(value, "_fields", None)
    if fields and isinstance(value, tuple):
        return list(zip(fields, value, strict=True))
    if isinstance(value, (list, tuple)):
        return [(f"output_{index}", item) for index, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(item.name, getattr(value, item.name)) for item in dataclasses.fields(value)]
    raise InvalidValueError(
        f"the network gives {type(value).__name__} among its outputs",
        hint="tensors in tuples, lists, dicts or dataclasses can be exported",
    )


class OnlyTensors(nn.Module):
    """A network whose outputs are a plain tuple of tensors, in the order of `named`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (N, C, H, W) to the outputs."""
        return tuple(named(self.network(image)).values())


def spec(name: str, shape: Sequence[int | str], dtype: torch.dtype) -> TensorSpec:
    """Return what a manifest says of an output."""
    layout = {2: "NC", 4: "NCHW"}.get(len(shape), "N" + "D" * (len(shape) - 1))
    return TensorSpec(name, tuple(shape), str(dtype).removeprefix("torch."), layout)
