"""A network layer by layer: shapes, costs, receptive fields and memory, from one pass without arithmetic."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgecnn.errors import InvalidValueError
from edgecnn.zoo.memory import Use, live_bytes
from edgecnn.zoo.operations import ATTENTION, ELEMENTWISE, Operation, describe
from edgecnn.zoo.receptive import Field, join

#: Bytes of a float32.
_FLOAT = 4


@dataclass(frozen=True)
class Layer:
    """One operation that computes or copies. Bytes are float32's, for one image.

    `shape` is the output's, without the batch. `receptive_field` and `receptive_step` are in pixels of the
    input, the larger of height and width; infinity means the whole image, None that it is not defined
    (after attention). `moved_bytes` are read and written; `live_bytes` are all activations in memory
    while it runs.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int
    params: int
    macs: int
    receptive_field: float | None
    receptive_step: int | None
    activation_bytes: int
    moved_bytes: int
    live_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold; a receptive field of the whole image is "all"."""
        field = self.receptive_field
        everything = field is not None and math.isinf(field)
        return {
            "name": self.name,
            "kind": self.kind,
            "output_shape": list(self.shape),
            "kernel": list(self.kernel) or None,
            "stride": list(self.stride) or None,
            "groups": self.groups,
            "params": self.params,
            "macs": self.macs,
            "receptive_field": "all" if everything else field,
            "receptive_field_step": None if everything else self.receptive_step,
            "activation_bytes": self.activation_bytes,
            "live_bytes": self.live_bytes,
        }


@dataclass(frozen=True)
class Analysis:
    """A network's layers in the order in which they run, and its trainable parameters.

    The layers' parameters sum to `params`, less those that are only used in training.
    """

    layers: tuple[Layer, ...]
    params: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one image, as `cost.count` has them."""
        return sum(layer.macs for layer in self.layers if layer.kind != ATTENTION)

    @property
    def attention_macs(self) -> int:
        """Those of products of two activations, which published counts leave out."""
        return sum(layer.macs for layer in self.layers if layer.kind == ATTENTION)

    @property
    def peak_activation_bytes(self) -> int:
        """The most bytes of activations alive at once: float32, one image, the input counted.

        By the rules of `memory.live_bytes`: views share what they look at, a normalization or an
        activation works in place when its input dies there, and padding is read on the fly.
        """
        return max((layer.live_bytes for layer in self.layers), default=0)

    @property
    def peak_layer(self) -> str:
        """Name of the first layer during which memory is at its peak."""
        return max(self.layers, key=lambda layer: layer.live_bytes).name

    @property
    def arithmetic_intensity(self) -> float:
        """Operations per byte: two per multiply-accumulate, over the bytes that have to move.

        Float32, one image. Each weight is read once; each layer reads its inputs and writes its output
        once, except that normalizations and activations are taken to be fused into their neighbours.
        """
        moved = sum(layer.moved_bytes for layer in self.layers)
        weights = _FLOAT * sum(layer.params for layer in self.layers)
        return 2 * (self.macs + self.attention_macs) / (moved + weights)

    @property
    def mac_share(self) -> dict[str, float]:
        """Kind of layer: its share of all multiply-accumulates, attention's too; the largest first."""
        totals: Counter[str] = Counter()
        for layer in self.layers:
            totals[layer.kind] += layer.macs
        whole = sum(totals.values())
        return {kind: macs / whole for kind, macs in totals.most_common() if macs}

    @property
    def receptive_field(self) -> int | None:
        """The field of the last map before global pooling or a flat linear layer; None if not defined."""
        local = [
            layer.receptive_field
            for layer in self.layers
            if layer.receptive_field is None or math.isfinite(layer.receptive_field)
        ]
        if not local or local[-1] is None:
            return None
        return int(max(field for field in local if field is not None))

    def to_json(self) -> dict[str, Any]:
        """Return the totals, and the layers."""
        return {
            "params": self.params,
            "macs": self.macs,
            "attention_macs": self.attention_macs,
            "peak_activation_bytes": self.peak_activation_bytes,
            "arithmetic_intensity": self.arithmetic_intensity,
            "receptive_field": self.receptive_field,
            "mac_share": self.mac_share,
            "layers": [layer.to_json() for layer in self.layers],
        }


def analyse(network: nn.Module, in_channels: int, resolution: int) -> Analysis:
    """Run `network` once on torch's meta device, in evaluation mode, and return its layers.

    What is recorded are torch's functions as they are called, so branches, shortcuts and functional
    operations are where they belong. Raises InvalidValueError for an input that the network cannot take.
    """
    meta = copy.deepcopy(network).to("meta").eval()
    image = torch.empty(1, in_channels, resolution, resolution, device="meta")
    tracer = _Tracer(meta, image)
    try:
        with torch.no_grad(), tracer:
            meta(image)
    except RuntimeError as error:  # torch's word for a feature map that has shrunk to nothing
        raise InvalidValueError(
            f"this network cannot take an input of {resolution} pixels", hint="give a larger --resolution"
        ) from error
    params = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Analysis(tuple(tracer.layers()), params)


@dataclass(frozen=True)
class _Call:
    """A module that is running. `number` tells two calls of it apart; a leaf has no modules in it."""

    name: str
    leaf: bool
    number: int


@dataclass(frozen=True)
class _Step:
    call: _Call
    function: str
    layer: Layer | None
    use: Use


class _Tracer(TorchFunctionMode):
    """Records every call of a torch function that reads something that depends on the image."""

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        super().__init__()
        self._steps: list[_Step] = []
        #: The modules that are running, the innermost last.
        self._running = [_Call("", False, 0)]
        self._calls = 0
        #: By id of a tensor: its receptive field. Tensors that are not here do not depend on the image.
        self._fields: dict[int, Field | None] = {id(image): Field()}
        #: By id: the parameters in a parameter, or in a constant that was computed from some.
        self._weights = {id(p): frozenset({p}) for p in network.parameters() if p.requires_grad}
        self._counted: set[nn.Parameter] = set()
        #: By storage: the buffer that holds it. A padded copy is held by what was padded.
        self._buffers: dict[int, int] = {}
        # An id means something only as long as its tensor lives.
        self._kept: list[Tensor] = [image]
        self._first = self._buffer(image)
        self._first_bytes = image.untyped_storage().nbytes()
        for name, module in network.named_modules():
            leaf = next(module.children(), None) is None
            module.register_forward_pre_hook(self._entering(name, leaf))
            module.register_forward_hook(self._leaving)

    def _entering(self, name: str, leaf: bool) -> Any:
        def enter(*_: Any) -> None:
            self._calls += 1
            self._running.append(_Call(name, leaf, self._calls))

        return enter

    def _leaving(self, *_: Any) -> None:
        self._running.pop()

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        outputs = list(_tensors(result))
        if outputs:
            self._record(func.__name__.strip("_"), args, kwargs, outputs)
        return result

    def _record(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Sequence[Tensor]
    ) -> None:
        inputs = list(_tensors((args, kwargs)))
        parameters = frozenset[nn.Parameter]().union(*(self._weights.get(id(t), ()) for t in inputs))
        reads = [tensor for tensor in inputs if id(tensor) in self._fields]
        self._kept += outputs
        if not reads:
            for output in outputs:
                self._weights.setdefault(id(output), parameters)
            return
        output = outputs[0]
        below = join([self._fields[id(tensor)] for tensor in reads if not _is_gate(tensor, output)])
        operation = describe(name, args, kwargs, output)
        read_buffers = tuple(dict.fromkeys(self._buffer(tensor) for tensor in reads))
        if name == "pad":
            self._buffers[output.untyped_storage()._cdata] = read_buffers[0]
        new = self._buffer(output) not in read_buffers
        for tensor in outputs:
            self._fields[id(tensor)] = operation.field(below)
        layer = None
        if new or operation.kind != name:  # else it is a view of what it reads, or a dropout that is off
            layer = self._layer(operation, reads, parameters, output) if operation.kind != "copy" or new else None
        use = Use(read_buffers)
        if new:
            size = output.untyped_storage().nbytes()
            use = Use(read_buffers, self._buffer(output), size, operation.kind in ELEMENTWISE)
        self._steps.append(_Step(self._running[-1], name, layer, use))

    def _layer(
        self, operation: Operation, reads: Sequence[Tensor], parameters: frozenset[nn.Parameter], output: Tensor
    ) -> Layer:
        field = self._fields[id(output)]
        # A parameter that is used twice is one parameter.
        fresh = parameters - self._counted
        self._counted |= fresh
        moved = 0 if operation.kind in ELEMENTWISE else sum(map(_bytes, {id(t): t for t in reads}.values()))
        return Layer(
            name="",
            kind=operation.kind,
            shape=tuple(output.shape[1:]),
            kernel=operation.kernel,
            stride=operation.stride,
            groups=operation.groups,
            params=sum(parameter.numel() for parameter in fresh),
            macs=operation.macs,
            receptive_field=field and (field.side if math.isinf(field.side) else int(field.side)),
            receptive_step=field and max(field.step),
            activation_bytes=_bytes(output),
            moved_bytes=moved and moved + _bytes(output),
        )

    def _buffer(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()._cdata
        return self._buffers.setdefault(storage, storage)

    def layers(self) -> Iterator[Layer]:
        """Yield the layers, named, with the memory that is in use while each runs.

        A layer has its module's name. Where a module's own code does several things, and in
        modules that hold others, the name of torch's function follows.
        """
        live = live_bytes(self._first, self._first_bytes, [step.use for step in self._steps])
        in_call = Counter(step.call.number for step in self._steps if step.layer)
        seen: Counter[str] = Counter()
        for step, memory in zip(self._steps, live, strict=True):
            if step.layer is None:
                continue
            name = step.call.name
            if not step.call.leaf or in_call[step.call.number] > 1:
                name = f"{name}.{step.function}".removeprefix(".")
            again = f"_{seen[name]}" if seen[name] else ""
            seen[name] += 1
            yield replace(step.layer, name=name + again, live_bytes=memory)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def _is_gate(tensor: Tensor, output: Tensor) -> bool:
    """Whether one value per channel is spread over a map, as in squeeze and excitation.

    It has seen the whole image, but it says how much of a channel there is, not where: the receptive field
    of the map remains what the map's own windows see.
    """
    return tensor.ndim == output.ndim == 4 and tensor.shape[2:].numel() == 1 < output.shape[2:].numel()


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * _FLOAT
