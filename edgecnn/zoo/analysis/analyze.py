"""Take a network apart: layers, costs, receptive fields and memory, from one pass without arithmetic."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from edgecnn.errors import InvalidValueError
from edgecnn.image_size import Size, SizeLike
from edgecnn.zoo.analysis.activation_memory import Use, live_bytes
from edgecnn.zoo.analysis.operations import COPY, Operation, describe, is_elementwise
from edgecnn.zoo.analysis.output_shapes import output_shape
from edgecnn.zoo.analysis.receptive import Field, join
from edgecnn.zoo.analysis.result import ELEMENTWISE, FLOAT, Analysis, Layer, Study
from edgecnn.zoo.catalog import architecture
from edgecnn.zoo.create import build


def study(
    name: str,
    *,
    alpha: float = 1.0,
    resolution: SizeLike | None = None,
    phi: float | None = None,
    backbone: str | None = None,
) -> Study:
    """Analyse a network of the catalogue at a width, a resolution and, where it has one, a compound scale.

    It is built on torch's meta device: its weights are never drawn. Raises UnknownNameError, and
    InvalidValueError for an alpha or a resolution that it cannot have.
    """
    row = architecture(name, phi, backbone)
    size = row.size if resolution is None else Size.of(resolution)
    try:
        with torch.device("meta"):
            network = build(row, alpha=alpha, resolution=size)
        analysis = analyse(network, row.in_channels, size)
    except RuntimeError as error:  # torch's word for a feature map that has shrunk to nothing
        raise InvalidValueError(
            f"{row.name} cannot take an input of {size} pixels",
            hint=f"its own resolution is {row.size.said}",
        ) from error
    return Study(row, alpha, size, analysis)


def analyse(network: nn.Module, in_channels: int, resolution: SizeLike) -> Analysis:
    """Run `network` once on torch's meta device, in evaluation mode, and return its layers.

    What is recorded are torch's functions as they are called, so branches, shortcuts and functional
    operations are where they belong. Torch's RuntimeError passes for an input that the network cannot take.
    """
    meta = copy.deepcopy(network).to("meta").eval()
    image = torch.empty(1, in_channels, *Size.of(resolution), device="meta")
    tracer = _Tracer(meta, image)
    with torch.no_grad(), tracer:
        meta(image)
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
        name = func.__name__.strip("_")
        result = None if _is_in_place(func, kwargs) else _outline(name, args, kwargs)
        if result is None:
            result = func(*args, **kwargs)
        outputs = list(_tensors(result))
        if outputs:
            self._record(name, args, kwargs, outputs)
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
            self._buffers[_storage(output)] = read_buffers[0]
        new = self._buffer(output) not in read_buffers
        for tensor in outputs:
            self._fields[id(tensor)] = operation.field(below)
        # What is not new is a view, a dropout that is off, or an operation of a known kind in place.
        works = new or operation.kind not in (COPY, name)
        layer = self._layer(operation, reads, parameters, output) if works else None
        use = Use(read_buffers)
        if new:
            size = output.untyped_storage().nbytes()
            use = Use(read_buffers, self._buffer(output), size, operation.kind in ELEMENTWISE)
        self._steps.append(_Step(self._running[-1], name, layer, use))

    def _layer(
        self,
        operation: Operation,
        reads: Sequence[Tensor],
        parameters: frozenset[nn.Parameter],
        output: Tensor,
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
            receptive_field=field.side if field else None,
            receptive_step=max(field.step) if field else None,
            activation_bytes=_bytes(output),
            moved_bytes=moved and moved + _bytes(output),
        )

    def _buffer(self, tensor: Tensor) -> int:
        storage = _storage(tensor)
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


def _is_in_place(func: Any, kwargs: Mapping[str, Any]) -> bool:
    name = func.__name__
    return bool(
        kwargs.get("inplace")
        or kwargs.get("out") is not None
        or name[-1] == "_" != name[0]
        or name[:3] == "__i"
    )


def _outline(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return a meta tensor of the shape that torch's function would return; None if it has to be asked."""
    tensors = list(_tensors((args, kwargs)))
    if not tensors or any(tensor.dtype != torch.float32 for tensor in tensors):
        return None
    shape = tensors[0].shape if is_elementwise(name) else output_shape(name, args, kwargs)
    return None if shape is None else torch.empty(shape, device="meta")


def _is_gate(tensor: Tensor, output: Tensor) -> bool:
    """Whether one value per channel is spread over a map, as in squeeze and excitation.

    It has seen the whole image, but it says how much of a channel there is, not where: the receptive field
    of the map remains what the map's own windows see.
    """
    return tensor.ndim == output.ndim == 4 and tensor.shape[2:].numel() == 1 < output.shape[2:].numel()


def _storage(tensor: Tensor) -> int:
    """Return what tensors that share their memory have in common, on the meta device too."""
    return int(StorageWeakRef(tensor.untyped_storage()).cdata)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * FLOAT
