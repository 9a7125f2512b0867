"""What a graph itself does with its images before anything with weights: scaled, shifted, reordered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from edgecnn.errors import EdgecnnError
from edgecnn.quantize.graph.index import Graph, attribute, is_standard
from edgecnn.quantize.graph.shapes import image_input
from edgecnn.runtime.preprocessing import Preprocessing

Array = npt.NDArray[np.float64]

#: Networks read values that span about this much, black to white: 1 of 0..1, 2 of -1..1, 4.4 of ImageNet's.
_SPAN = (0.3, 10.0)
#: Means of images are in the middle of black and white, or this share of white away from it at most.
_MEAN = 0.4
#: At most so many steps are looked at: what prepares images is short.
_MOST_STEPS = 32


@dataclass(frozen=True)
class OwnPreparation:
    """What a graph makes of a pixel: pixel * scale + shift, one or one per channel, each (1,) or (C,)."""

    scale: Array
    shift: Array
    #: Whether it casts bytes, has its channels last, and turns their order round.
    from_uint8: bool = False
    channels_last: bool = False
    reversed: bool = False

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How images are prepared for it; None where that cannot be told."""
        if self.pixels is None:
            return None
        return Preprocessing(pixels=self.pixels, mean=(0.0,) * 3, std=(1.0,) * 3)

    def contradicts(self, preprocessing: Preprocessing) -> bool:
        """Return whether images that are prepared so would be normalized twice, or in another unit."""
        if self.pixels is None:
            return False
        plain = not any(preprocessing.mean) and set(preprocessing.std) == {1.0}
        return not plain or preprocessing.pixels != self.pixels

    @property
    def pixels(self) -> int | None:
        """1 or 255: what a white pixel has to be before the graph; None where that cannot be told."""
        if self.from_uint8:
            return 255
        if self.shift.any():
            mean = -self.shift / self.scale
            whites = (white for white in (255, 1) if (np.abs(mean / white - 0.5) <= _MEAN).all())
            return next(whites, None)
        if np.allclose(self.scale, 1):
            return None
        spans = {white: float(np.abs(white * self.scale).mean()) for white in (255, 1)}
        return next((white for white, span in spans.items() if _SPAN[0] <= span <= _SPAN[1]), None)

    def __str__(self) -> str:
        """Return it for people, as in "subtracts 127.5, divides by 127.5"."""
        steps = []
        if self.from_uint8:
            steps.append("casts bytes")
        if self.channels_last:
            steps.append("brings the channels to the front")
        if self.reversed:
            steps.append("reverses the channels")
        deviation = 1 / self.scale
        if self.shift.any():
            steps.append(f"subtracts {_said(-self.shift * deviation)}")
        if not np.allclose(deviation, 1):
            steps.append(f"divides by {_said(deviation)}")
        return ", ".join(steps)


def own_preparation(model: onnx.ModelProto) -> OwnPreparation | None:
    """Return what a graph does first with its one image input; None if nothing that prepares it.

    Looked at are Cast, Transpose, Identity, Gather of the channels in reverse, and Add, Sub, Mul and Div of a
    constant, one after another, as long as nothing else reads their results.
    """
    try:
        source = image_input(model)
    except EdgecnnError:
        return None
    graph, tensor = Graph(model), source.name
    scale, shift = np.ones(1), np.zeros(1)
    from_uint8 = source.type.tensor_type.elem_type == TensorProto.UINT8
    axis = _channel_axis(source)
    last, turned = axis == 3, False
    for _ in range(_MOST_STEPS):
        node = graph.only_consumer(tensor)
        if node is None or not is_standard(node) or len(node.output) != 1:
            break
        if node.op_type == "Transpose":
            order = list(attribute(node, "perm", [])) or [3, 2, 1, 0]
            axis = order.index(axis) if axis in order else axis
        elif node.op_type == "Gather" and _reverses(graph, node, axis):
            turned, scale, shift = not turned, scale[::-1], shift[::-1]
        elif node.op_type in ("Add", "Sub", "Mul", "Div"):
            changed = _affine(graph, node, tensor, axis, scale, shift)
            if changed is None:
                break
            scale, shift = changed
        elif node.op_type not in ("Cast", "Identity"):
            break
        tensor = node.output[0]
    found = OwnPreparation(scale, shift, from_uint8, last and axis == 1, turned)
    return found if str(found) else None


def _affine(
    graph: Graph, node: onnx.NodeProto, tensor: str, axis: int, scale: Array, shift: Array
) -> tuple[Array, Array] | None:
    """Return scale and shift after a node; None if it is not one of them."""
    at = list(node.input).index(tensor)
    other = node.input[1 - at]
    if not graph.is_constant(other) or (node.op_type == "Div" and at == 1):
        return None
    value = _per_channel(graph.constant(other).astype(np.float64), axis)
    if value is None or not np.isfinite(value).all() or (node.op_type in ("Mul", "Div") and not value.all()):
        return None
    if node.op_type == "Mul":
        return scale * value, shift * value
    if node.op_type == "Div":
        return scale / value, shift / value
    if node.op_type == "Add":
        return scale, shift + value
    return (scale, shift - value) if at == 0 else (-scale, value - shift)


def _per_channel(value: Array, axis: int) -> Array | None:
    """Return a constant as (1,) or (C,); None if it differs along another axis than the channels'."""
    if value.size == 1:
        return value.reshape(1)
    shape = (1,) * (4 - value.ndim) + value.shape
    if len(shape) != 4 or shape[axis] != value.size:
        return None
    return value.reshape(-1)


def _reverses(graph: Graph, node: onnx.NodeProto, axis: int) -> bool:
    if len(node.input) != 2 or not graph.is_constant(node.input[1]):
        return False
    order = graph.constant(node.input[1]).reshape(-1).tolist()
    return attribute(node, "axis", 0) % 4 == axis and order == [2, 1, 0]


def _channel_axis(source: onnx.ValueInfoProto) -> int:
    sizes = [dim.dim_value for dim in source.type.tensor_type.shape.dim]
    few = (1, 3, 4)
    return 3 if len(sizes) == 4 and sizes[3] in few and sizes[1] not in few else 1


def _said(values: Array) -> str:
    alike = np.allclose(values, values[0])
    return ",".join(f"{value:.4g}" for value in (values[:1] if alike else values))
