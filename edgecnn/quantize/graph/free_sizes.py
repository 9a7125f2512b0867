"""Sizes that a file leaves open: a graph is prepared for one size, and opened again where that is no loss.

Whether it is a second size tells: what was computed beforehand is the same for both, or belongs to one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorShapeProto

from edgecnn.artifact import TensorSpec
from edgecnn.image_size import Size
from edgecnn.quantize.graph import shapes
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph, attribute, inferred_shapes
from edgecnn.runtime.engine_inputs import layout_of
from edgecnn.runtime.samples import image_spec, is_batched, pack

Array = npt.NDArray[Any]

#: Of the second size, in units of the first: with whole factors a network that halves its maps fits again.
_HIGHER, _WIDER = 2, 3


@dataclass(frozen=True)
class FreeSizes:
    """Which sizes of a file's inputs are open, beside the number of images."""

    #: Name of an input: axis and what the file calls its size, "" for nothing.
    axes: Mapping[str, Mapping[int, str]]

    @classmethod
    def of(
        cls, given: onnx.ModelProto, prepared: onnx.ModelProto, samples: Mapping[str, Sequence[int]]
    ) -> FreeSizes:
        """Return those of a file as it was given: of images height and width, of `samples` all.

        `samples` are the shapes of the inputs that somebody gives, as `prepare` takes them.
        """
        found = {}
        declared = {value.name: value.type.tensor_type.shape.dim for value in shapes.inputs_of(given)}
        for value in shapes.inputs_of(prepared):
            rank, dims = len(_sizes(value)), declared[value.name]
            axes = range(1, rank) if value.name in samples else _sides(value)
            free = {
                axis: dims[axis].dim_param for axis in axes if len(dims) == rank and not _fixed(dims[axis])
            }
            if free:
                found[value.name] = free
        return cls(found)

    def __bool__(self) -> bool:
        return bool(self.axes)

    def factors(self, name: str, rank: int) -> list[int]:
        """Return how many times as large each size of an input is the second time."""
        free = self.axes.get(name, {})
        last = max(free, default=-1)
        return [(_WIDER if axis == last else _HIGHER) if axis in free else 1 for axis in range(rank)]

    def second(
        self, prepared: onnx.ModelProto, samples: Mapping[str, Sequence[int]]
    ) -> tuple[Size | None, dict[str, tuple[int, ...]]]:
        """Return the second size of images, and shapes of the inputs that somebody gives."""
        size, others = None, {name: tuple(shape) for name, shape in samples.items()}
        for value in shapes.inputs_of(prepared):
            full = _sizes(value)
            larger = [
                own * factor for own, factor in zip(full, self.factors(value.name, len(full)), strict=True)
            ]
            if value.name in samples:
                others[value.name] = tuple(larger[len(larger) - len(samples[value.name]) :])
            elif value.name in self.axes:
                size = Size(*(larger[axis] for axis in _sides(value)))
        return size, others

    def larger(self, samples: Array, specs: Sequence[TensorSpec]) -> Array:
        """Return samples (`runtime.samples`) of the second size: each repeated along its open axes."""
        image = image_spec(specs)
        parts = samples.dtype.names or (None,)
        arrays = {}
        for name, spec in zip(parts, specs, strict=True):
            values = samples if name is None else samples[name]
            factors = self.factors(spec.name, len(spec.shape))
            arrays[spec.name] = np.tile(values, [1, *(factors[1:] if is_batched(spec, image) else factors)])
        return pack(arrays)

    def open(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return a copy of a prepared graph, or of one made of it, that takes any size where the file did."""
        result = copy_of(model)
        for value in result.graph.input:
            for axis, name in self.axes.get(value.name, {}).items():
                dim = value.type.tensor_type.shape.dim[axis]
                dim.Clear()
                dim.dim_param = name or f"{value.name}_size{axis}"
        del result.graph.value_info[:]
        ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in result.graph.output}
        for value in result.graph.output:
            value.type.tensor_type.ClearField("shape")
        inferred = {value.name: value for value in onnx.shape_inference.infer_shapes(result).graph.output}
        for value in result.graph.output:
            found = inferred[value.name].type.tensor_type
            known = found.HasField("shape") and len(found.shape.dim) == ranks[value.name]
            dims = found.shape.dim if known else [TensorShapeProto.Dimension()] * ranks[value.name]
            value.type.tensor_type.shape.dim.extend(dims)
        return result


def _sizes(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _fixed(dim: onnx.TensorShapeProto.Dimension) -> bool:
    return dim.HasField("dim_value") and dim.dim_value > 0


def _sides(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the axes of an image's height and width."""
    sizes = _sizes(value)
    if len(sizes) != 4:
        return ()
    return (1, 2) if layout_of(sizes) == "NHWC" else (2, 3)


def at_size(model: onnx.ModelProto, size: Size | None) -> onnx.ModelProto:
    """Return a model for images of a size, where it is for any: what its layers cost depends on that."""
    result = copy_of(model)
    image = shapes.image_input(result)
    for axis, side in zip(_sides(image), size or (), strict=False):
        dim = image.type.tensor_type.shape.dim[axis]
        if not _fixed(dim):
            dim.Clear()
            dim.dim_value = side
    return result


def made_free(model: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    """Make, in place, a graph that was prepared for one size one for any; `other` was prepared for another.

    A Reshape whose shape differs in one number has -1 there. Returns False, and changes nothing, where what
    was computed beforehand differs otherwise.
    """
    left, right = Graph(model), Graph(other)
    names = {tensor.name for tensor in model.graph.initializer}
    if names != {tensor.name for tensor in other.graph.initializer} or _written(left) != _written(right):
        return False
    known = inferred_shapes(model)
    opened = {}
    for name in sorted(names):
        one, two = left.constant(name), right.constant(name)
        if one.shape == two.shape and one.dtype == two.dtype and np.array_equal(one, two):
            continue
        shape = _open_shape(one, two, left.consumers(name), known)
        if shape is None:
            return False
        opened[name] = shape
    for name, shape in opened.items():
        left.set_constant(name, shape)
    return True


def _written(graph: Graph) -> list[bytes]:
    return [node.SerializeToString(deterministic=True) for node in graph.nodes]


def _open_shape(
    one: Array, two: Array, readers: Sequence[onnx.NodeProto], known: Mapping[str, Sequence[int]]
) -> npt.NDArray[np.int64] | None:
    """Return what Reshapes can be told in place of two shapes for two sizes; None where nothing says both.

    `known` are the shapes of the tensors; 0 stands for an unknown size.
    """
    if one.shape != two.shape or one.dtype != np.int64 or one.ndim != 1:
        return None
    shape = one.astype(np.int64)
    for node in readers:
        if node.op_type != "Reshape" or node.input[0] not in known or attribute(node, "allowzero", 0):
            return None
        if shape[0] < 0 and math.prod(shape[1:].tolist()) != math.prod(known[node.input[0]][1:]):
            return None
    if shape[0] < 0:  # what is left for the first size is that of the input, which is said by 0
        shape[0] = 0
    differs = one != two
    if differs.sum() != 1 or (shape < 0).any():
        return None
    return np.where(differs, -1, shape)
