"""The table of ONNX operators (opset 18 on) and the PyTorch functions that compute them.

A function takes the node's inputs in their order, None for one that is left out, and the node's attributes by
their names. A constant without axes comes as a number. Shapes, axes and indices are int64 tensors in host
memory, wherever the images are.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import onnx
import torch
from onnx import helper
from torch import Tensor
from torch.nn import functional as F

from edgecnn.compress.qat import windows
from edgecnn.compress.qat.windows import Ints
from edgecnn.errors import InvalidValueError

Operator = Callable[..., Any]


def operator(node: onnx.NodeProto) -> Operator:
    """Return the function that computes a node from its inputs.

    Raises InvalidValueError for an operator that is not in the table, or an attribute or an output that its
    function does not know.
    """
    function = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if function is None:
        raise InvalidValueError(
            f"{node.name}: a graph with the operator {node.op_type} cannot be trained",
            hint="train the network in PyTorch, then quantize what it exports",
        )
    given = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    settings = {key: value.decode() if isinstance(value, bytes) else value for key, value in given.items()}
    for key in settings:
        if isinstance(function, _Plain) or key not in inspect.signature(function).parameters:
            raise InvalidValueError(f"{node.name}: {node.op_type} with {key} cannot be trained")
    if len([name for name in node.output if name]) > 1 and node.op_type != "Split":
        raise InvalidValueError(f"{node.name}: {node.op_type} with a second output cannot be trained")
    return partial(function, **settings)


class _Plain:
    """A function of torch for an operator without attributes."""

    def __init__(self, function: Operator) -> None:
        self._function = function

    def __call__(self, *inputs: Any) -> Any:
        return self._function(*inputs)


# Layers.


def _global_average_pool(x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def _global_max_pool(x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)


def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | float | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    a = a.T if transA else a
    b = b if transB else b.T
    if alpha == beta == 1 and (c is None or (isinstance(c, Tensor) and c.ndim == 1)):
        return F.linear(a, b, c)
    product = alpha * F.linear(a, b)
    return product if c is None else product + beta * c


def _batch_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)


def _layer_normalization(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    shape = x.shape[axis:]
    return F.layer_norm(x, shape, scale.expand(shape), None if bias is None else bias.expand(shape), epsilon)


def _lrn(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    squares = F.pad(x.square().unsqueeze(1), (0, 0, 0, 0, (size - 1) // 2, size // 2))
    mean = F.avg_pool3d(squares, (size, 1, 1), stride=1).squeeze(1)
    return x / (bias + alpha * mean).pow(beta)


# Activations.


def _clip(x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    return x if low is None and high is None else x.clamp(low, high)


def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


def _prelu(x: Tensor, slope: Tensor | float) -> Tensor:
    return torch.where(x < 0, slope * x, x)


def _elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(x, approximate=approximate)


def _softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.softmax(axis)


def _log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return x.log_softmax(axis)


# Values that are moved.


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    sizes = shape.tolist()
    if not allowzero:
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    first = math.prod(x.shape[: axis % x.ndim if axis < 0 else axis])
    return x.reshape(first, -1)


def _transpose(x: Tensor, *, perm: Ints = ()) -> Tensor:
    return x.permute(*(perm or range(x.ndim)[::-1]))


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(axes.tolist())


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + axes.numel()
    for axis in sorted(axis % rank for axis in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, shape.tolist()))


def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, axis)


def _split(
    x: Tensor, sizes: Tensor | None = None, *, axis: int = 0, num_outputs: int = 1
) -> tuple[Tensor, ...]:
    if sizes is not None:
        return x.split(sizes.tolist(), axis)
    return x.split(math.ceil(x.shape[axis] / num_outputs), axis)


def _slice(
    x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
) -> Tensor:
    over = range(starts.numel()) if axes is None else axes.tolist()
    strides = [1] * starts.numel() if steps is None else steps.tolist()
    for axis, start, end, step in zip(over, starts.tolist(), ends.tolist(), strides, strict=True):
        chosen = range(*slice(start, end, step).indices(x.shape[axis]))
        if step == 1:
            x = x.narrow(axis, min(chosen.start, x.shape[axis]), len(chosen))
        else:
            x = x.index_select(axis, torch.tensor(chosen, device=x.device))
    return x


def _gather(x: Tensor, indices: Tensor | int, *, axis: int = 0) -> Tensor:
    if isinstance(indices, int):
        return x.select(axis, indices)
    indices = torch.where(indices < 0, indices + x.shape[axis], indices).to(x.device)
    found = x.index_select(axis, indices.reshape(-1))
    axis %= x.ndim
    return found.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def _pad(
    x: Tensor, pads: Tensor, value: float | None = None, axes: Tensor | None = None, *, mode: str = "constant"
) -> Tensor:
    amounts = pads.tolist()
    over = range(x.ndim) if axes is None else [axis % x.ndim for axis in axes.tolist()]
    ends = {axis: (amounts[i], amounts[len(over) + i]) for i, axis in enumerate(over)}
    if mode == "constant":
        flat = [amount for axis in reversed(range(x.ndim)) for amount in ends.get(axis, (0, 0))]
        return F.pad(x, flat, value=value or 0.0)
    # torch pads at most the last axes so, and not in the same way for every rank.
    for axis, (before, after) in ends.items():
        size = x.shape[axis]
        wanted = torch.arange(-before, size + after)
        if mode == "edge":
            wanted = wanted.clamp(0, size - 1)
        elif mode == "reflect":
            wanted = (size - 1) - (wanted % (2 * (size - 1) or 1) - (size - 1)).abs()
        else:
            raise InvalidValueError(f"Pad with the mode {mode} cannot be trained")
        x = x.index_select(axis, wanted.to(x.device))
    return x


def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end])


def _reduce_mean(
    x: Tensor, axes: Tensor | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Tensor:
    if axes is None or not axes.numel():
        return x if noop_with_empty_axes else x.mean(tuple(range(x.ndim)), keepdim=bool(keepdims))
    return x.mean(axes.tolist(), keepdim=bool(keepdims))


def _identity(x: Tensor) -> Tensor:
    return x


OPERATORS: dict[str, Operator] = {
    "Conv": windows.conv,
    "Gemm": _gemm,
    "MatMul": _Plain(torch.matmul),
    "MaxPool": windows.max_pool,
    "AveragePool": windows.average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "ReduceMean": _reduce_mean,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "LRN": _lrn,
    "Relu": _Plain(torch.relu),
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _Plain(F.hardswish),
    "Sigmoid": _Plain(torch.sigmoid),
    "Tanh": _Plain(torch.tanh),
    "Erf": _Plain(torch.erf),
    "Softplus": _Plain(F.softplus),
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "Add": _Plain(torch.add),
    "Sub": _Plain(torch.sub),
    "Mul": _Plain(torch.mul),
    "Div": _Plain(torch.div),
    "Sqrt": _Plain(torch.sqrt),
    "Identity": _identity,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Expand": _expand,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Shape": _shape,
}
