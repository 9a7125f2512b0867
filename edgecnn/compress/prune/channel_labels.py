"""Which channels of a network belong together: a forward pass that carries a label for every value.

A layer's outputs get fresh labels, whatever moves values moves their labels, and where two values meet
(a sum, a product, one filter that reads both) their labels become one. What has one label in the end
can only be removed together. That is the dependency graph of Fang et al. 2023 (DepGraph, arXiv:2301.12900),
found by channel instead of by layer, so that shuffles, splits, concatenations and flattened maps need no
rule of their own. Nothing is computed: the network runs on torch's meta device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from edgecnn.compress.losses import has_losses
from edgecnn.compress.prune import aten_operators as aten
from edgecnn.compress.prune.aten_operators import ATEN, regrouped, tensors_in
from edgecnn.zoo.input_errors import fitting
from edgecnn.zoo.network_outputs import named
from edgecnn.zoo.structure import layer_type

#: Label of what must stay: the image's channels, the logits, and whatever an unknown operator reads.
FIXED = 0
#: Label of constants, which adapt to any number of channels by broadcasting.
ANY = -1

Labels = npt.NDArray[np.int64]
_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class Channels:
    """The labels of a network's tensors and where each layer computes."""

    #: (parameter or buffer, axis): the label of each position. Axes that pruning cannot change are left out.
    axes: dict[tuple[str, int], Labels]
    #: Weight of a convolution or linear layer: how many times an image makes it multiply each element.
    positions: dict[str, int]
    #: Weights of transposed convolutions: their first axis counts what they read, the second what they write.
    transposed: frozenset[str]


def trace(network: nn.Module, example: Tensor) -> Channels:
    """Return the labels of `network` for inputs like `example`, (N, C, H, W), of which only the shape counts.

    Raises InvalidValueError if the network cannot take such an input.
    """
    with torch.no_grad(), fitting(example.shape[2:]):
        try:
            return _traced(network, example, "meta")
        except Exception:  # it makes tensors of its own on another device; a real run has any other error too
            return _traced(network, example, "cpu")


def _traced(network: nn.Module, example: Tensor, device: str) -> Channels:
    copied = copy.deepcopy(network).to(device)
    tracer = _Tracer(copied)
    image = torch.zeros(2, *example.shape[1:], device=device)
    outputs = tracer.run(copied.eval(), image)
    positions = {name: count // len(image) for name, count in tracer.positions.items()}
    if tracer.layers - positions.keys():  # auxiliary classifiers, which run in training mode only
        labels = [torch.zeros(len(image), dtype=torch.int64, device=device)] * has_losses(copied)
        outputs += tracer.run(copied.train(), image, *labels)
    for out in outputs:
        tracer.fix(tracer.of(out))
    return Channels(tracer.axes(), positions, frozenset(tracer.transposed))


class _Tracer(TorchDispatchMode):
    """Labels tensors while the network runs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._labels: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._parent = np.zeros(1, np.int64)
        self._inside = 0
        self._axes: dict[tuple[str, int], Labels] = {}
        self._bare: dict[str, Tensor] = {}
        #: Labels of what a layer gives, by its name.
        self._known: dict[str, Labels] = {}
        self.positions: dict[str, int] = {}
        #: Weights of all convolutions and linear layers.
        self.layers: set[str] = set()
        self.transposed: set[str] = set()
        for name, module in network.named_modules():
            if layer_type(module) is not None or isinstance(module, nn.LocalResponseNorm):
                module.register_forward_pre_hook(self._enter)
                module.register_forward_hook(self._leave_as(name))
                if isinstance(module, _WEIGHTED):
                    self.layers.add(f"{name}.weight")
                if isinstance(module, nn.ConvTranspose2d):
                    self.transposed.add(f"{name}.weight")
                continue
            # What a module holds itself: each element may be a channel, or not, as it turns out.
            for key, parameter in module.named_parameters(name, recurse=False):
                if parameter.numel() > 1:
                    labels = torch.from_numpy(self._fresh(parameter.numel())).reshape(parameter.shape)
                    self._bare[key] = labels
                    self._labels[parameter] = labels
            # Constants of several elements belong to the channels that they meet, which then stay.
            for buffer in module.buffers(recurse=False):
                if buffer.numel() > 1:
                    self._labels[buffer] = torch.tensor(FIXED).expand(buffer.shape)

    def run(self, network: nn.Module, image: Tensor, *more: Tensor) -> list[Tensor]:
        """Run the network on an image whose channels stay; return its outputs."""
        self._labels[image] = torch.full(image.shape, FIXED)
        with self:
            out = network(image, *more)
        return list(named(out).values())

    def axes(self) -> dict[tuple[str, int], Labels]:
        """Return the final label of each position of each axis that has any but `FIXED`."""
        found = {key: self._roots(labels) for key, labels in self._axes.items()}
        for name, labels in self._bare.items():
            roots = torch.from_numpy(self._roots(labels.numpy()))
            for axis in range(roots.ndim):
                line = roots.movedim(axis, 0).reshape(roots.shape[axis], -1)
                if roots.shape[axis] > 1 and bool((line == line[:, :1]).all()):
                    found[name, axis] = line[:, 0].numpy()
        return {key: labels for key, labels in found.items() if labels.any()}

    # -- labels ------------------------------------------------------------------------------------------

    def of(self, tensor: Tensor) -> Tensor:
        """Return the labels of a tensor, of its shape; `ANY` if it depends on no channel."""
        known = self._labels.get(tensor)
        return torch.tensor(ANY).expand(tensor.shape) if known is None else known

    def fix(self, labels: Tensor) -> None:
        """Mark channels as such that stay."""
        self._join(labels, torch.tensor(FIXED).expand(labels.shape))

    def _fresh(self, count: int) -> Labels:
        new = np.arange(len(self._parent), len(self._parent) + count)
        self._parent = np.concatenate([self._parent, new])
        return new

    def _roots(self, labels: Labels) -> Labels:
        roots = self._parent[labels]
        while (roots != (above := self._parent[roots])).any():
            roots = above
        return np.asarray(np.where(labels == ANY, FIXED, roots))

    def _join(self, first: Tensor, second: Tensor) -> None:
        """Make each label of `first` one with the label at its place in `second`; `ANY` joins nothing."""
        for axis in range(first.ndim):  # expanded axes say the same over and over
            if first.stride(axis) == 0 == second.stride(axis):
                first, second = first.narrow(axis, 0, 1), second.narrow(axis, 0, 1)
        pairs = np.stack([first.reshape(-1).numpy(), second.reshape(-1).numpy()], 1)
        pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs != ANY).all(1)]
        for a, b in np.unique(pairs, axis=0).tolist():
            a, b = self._root(a), self._root(b)
            self._parent[max(a, b)] = min(a, b)  # FIXED is the smallest, and wins

    def _root(self, label: int) -> int:
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = int(parent[label])
        return label

    def _along(self, labels: Tensor, axis: int) -> Tensor:
        """Return one label for each position of an axis, after joining all that stand there."""
        return self._over(labels, [other for other in range(labels.ndim) if other != axis % labels.ndim])

    def _over(self, labels: Tensor, axes: Sequence[int], keepdim: bool = False) -> Tensor:
        """Return `labels` without some axes, along which they are joined."""
        for axis in range(labels.ndim):
            if axis in axes and labels.stride(axis) == 0:
                labels = labels.narrow(axis, 0, 1)
        most = labels.amax(list(axes), keepdim=True) if axes else labels
        self._join(labels, most.expand(labels.shape))
        return most if keepdim or not axes else most.squeeze(list(axes))

    def _couple(self, labels: Tensor, axis: int, length: int) -> None:
        """Join what stands at the same place of each part of `length`: parts then stay equally long."""
        parts = labels.unflatten(axis, (-1, length))
        self._join(parts, parts.narrow(axis, 0, 1).expand(parts.shape))

    # -- layers ------------------------------------------------------------------------------------------

    def _enter(self, *_: Any) -> None:
        self._inside += 1

    def _leave_as(self, name: str) -> Callable[..., None]:
        def leave(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            axis = -1 if isinstance(module, (nn.Linear, nn.LayerNorm)) else 1
            if isinstance(module, nn.LocalResponseNorm):
                self._labels[out] = self.of(given[0])
            else:
                labels = self._along(self.of(given[0]), axis)
                labels = torch.where(labels == ANY, FIXED, labels)
                if isinstance(module, _WEIGHTED):
                    counted = given[0] if isinstance(module, nn.ConvTranspose2d) else out
                    places = counted.numel() // counted.shape[axis]  # a head may read several
                    self.positions[f"{name}.weight"] = self.positions.get(f"{name}.weight", 0) + places
                    labels = self._weighted(name, module, labels)
                else:
                    if isinstance(module, nn.GroupNorm):
                        self._keep_groups(module, labels)
                    for key, tensor in (*module.named_parameters(), *module.named_buffers()):
                        if tensor.ndim == 1:
                            self._set(f"{name}.{key}", 0, labels)
                shape = [1] * out.ndim
                shape[axis] = -1
                self._labels[out] = labels.reshape(shape).expand(out.shape)
            self._inside -= 1  # last: what is done here is not traced

        return leave

    def _keep_groups(self, module: nn.GroupNorm, labels: Tensor) -> None:
        """Let the channels of each group stay or go together: what is left of a group has another mean."""
        if module.weight is None:  # then nothing says how many are left
            self.fix(labels)
        else:
            self._over(labels.unflatten(0, (module.num_groups, -1)), [1])

    def _weighted(
        self, name: str, module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, labels: Tensor
    ) -> Tensor:
        """Label a convolution or linear layer that reads `labels`; return the labels of its outputs."""
        transposed = isinstance(module, nn.ConvTranspose2d)
        outputs = module.out_features if isinstance(module, nn.Linear) else module.out_channels
        groups = 1 if isinstance(module, nn.Linear) else module.groups
        if groups == len(labels) == outputs:
            produced = labels
        else:
            # A layer may run more than once; its outputs then have the labels of the first time.
            known = self._known.get(name)
            produced = torch.from_numpy(self._fresh(outputs) if known is None else known)
            self._couple(labels, 0, len(labels) // groups)
            self._couple(produced, 0, outputs // groups)
            self._known[name] = produced.numpy()
            # The second axis counts the channels of one group.
            if transposed:
                self._set(f"{name}.weight", 1, produced[: outputs // groups])
            else:
                self._set(f"{name}.weight", 1, labels[: len(labels) // groups])
        self._set(f"{name}.weight", 0, labels if transposed else produced)
        if module.bias is not None:
            self._set(f"{name}.bias", 0, produced)
        return produced

    def _set(self, tensor: str, axis: int, labels: Tensor) -> None:
        if (tensor, axis) in self._axes:
            self._join(torch.from_numpy(self._axes[tensor, axis]), labels)
        self._axes[tensor, axis] = labels.numpy()

    # -- everything else ---------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if self._inside or func.overloadpacket in aten.FACTORIES:
            return out
        packet = func.overloadpacket
        if packet in aten.MOVES:
            self._move(packet, out, args)
        elif packet in aten.CHANNELWISE:
            self._label(out, self._along(self.of(args[0]), 1).reshape(1, -1, *[1] * (args[0].ndim - 2)))
        elif packet in aten.REDUCTIONS and len(args) > 1:
            axes = [axis % args[0].ndim for axis in args[1]]
            self._label(out, self._over(self.of(args[0]), axes, keepdim=len(args) > 2 and args[2]))
        elif packet is ATEN.as_strided_ and self.of(args[0]).shape == out.shape:
            pass  # pooling to one pixel mends the strides of its result
        elif torch.Tag.pointwise in func.tags or packet in aten.ELEMENTWISE:
            self._meet(out, [item for item in args if isinstance(item, Tensor)])
        else:
            read = [item for item in tensors_in(args) if item in self._labels]
            for item in read:
                self.fix(self.of(item))
            if read:
                self._label(out, torch.tensor(FIXED))
        return out

    def _label(self, out: Any, labels: Tensor) -> None:
        for item in tensors_in((out,)):
            self._labels[item] = labels.expand(item.shape)

    def _meet(self, out: Any, operands: list[Tensor]) -> None:
        first = tensors_in((out,))[0]
        labels = torch.tensor(ANY).expand(first.shape)
        for operand in operands:
            other = self.of(operand).expand(first.shape)
            self._join(labels, other)
            if bool((labels == ANY).any()):
                labels = other if bool((labels == ANY).all()) else torch.where(labels == ANY, other, labels)
        self._label(out, labels)

    def _move(self, packet: Any, out: Any, args: tuple[Any, ...]) -> None:
        if packet is ATEN.cat:
            self._labels[out] = torch.cat([self.of(item) for item in args[0]], *args[1:])
            return
        labels, rest = self.of(args[0]), args[1:]
        if packet in (ATEN.view, ATEN._unsafe_view):
            self._split_axes(labels, out.shape)
            self._labels[out] = labels.reshape(out.shape)
        elif packet is ATEN.split:
            axis = rest[1] if len(rest) > 1 else 0
            if self._varies(labels, axis):
                if labels.shape[axis] % rest[0]:
                    self.fix(labels)
                else:
                    self._couple(labels, axis % labels.ndim, rest[0])
            for item, part in zip(out, labels.split(*rest), strict=True):
                self._labels[item] = part
        elif packet in (ATEN.slice, ATEN.select):
            if out.shape != labels.shape and self._varies(labels, rest[0] if rest else 0):
                self.fix(labels)
            self._labels[out] = packet(labels, *rest)
        elif packet is ATEN.constant_pad_nd:
            self._labels[out] = nn.functional.pad(labels, rest[0], value=ANY)
        else:
            self._labels[out] = packet(labels, *rest)

    def _varies(self, labels: Tensor, axis: int) -> bool:
        """Return whether an axis is one of channels: what stands along it has more than one label by now."""
        if labels.stride(axis) == 0:
            return False
        for other in range(labels.ndim):
            if labels.stride(other) == 0:
                labels = labels.narrow(other, 0, 1)
        roots = self._roots(labels.numpy())
        return bool((roots != roots.take([0], axis)).any())

    def _split_axes(self, labels: Tensor, shape: Sequence[int]) -> None:
        """Prepare for a view in which an axis of channels falls into several: its parts stay equally long."""
        for axes, sizes in regrouped(labels.shape, shape):
            if len(sizes) > 1 and any(self._varies(labels, axis) for axis in axes):
                if len(axes) == 1:
                    self._couple(labels, axes[0], sizes[-1])
                else:
                    self.fix(labels)
