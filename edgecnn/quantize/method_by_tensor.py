"""Which method gives each tensor the best range: tried on the network's output, one tensor after the other.

What a method knows of a tensor is its own histogram; how much the network minds clipping or coarse steps
there shows only at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from edgecnn.quantize.graph.edit import copy_of, replace_nodes
from edgecnn.quantize.graph.free_names import Names
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.readouts import readouts
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.place import Placement
from edgecnn.quantize.ranges.range_methods import Range
from edgecnn.quantize.reference import Network, Reference, with_outputs
from edgecnn.schemes import Scheme

Array = npt.NDArray[np.float32]

#: Another method is taken only if it wins this much of the noise: less is chance, on so few images.
_LEAST_GAIN = 0.01
#: Ranges nearer to each other than this share of their width are one and the same.
_SAME = 0.02


def choose(
    model: onnx.ModelProto,
    placement: Placement,
    candidates: Mapping[str, Mapping[str, Range]],
    first: str,
    scheme: Scheme,
    images: Array,
    progress: Callable[[int, int], None] = lambda done, total: None,
    has_time: Callable[[], bool] = lambda: True,
) -> dict[str, str]:
    """Return the method of each observed tensor that leaves least noise in the output of a float model.

    `candidates` has the ranges of each of `placement.observed` by method, and all start with `first`.
    Activations are rounded, weights are not. `images` are inputs of the model, (N, C, H, W). Tensors that
    share a range share the method. Once there is no time for one more, the others keep the first method.
    """
    groups: dict[str, list[str]] = {}
    for name in placement.observed:
        groups.setdefault(placement.shares.get(name, name), []).append(name)
    methods = dict.fromkeys(placement.observed, first)
    rounded = _Rounded(model, placement, scheme, images)

    def ranges_by(methods: Mapping[str, str]) -> dict[str, Range]:
        return placement.ranges({name: candidates[name][method] for name, method in methods.items()})

    least = rounded.noise(ranges_by(methods))
    for index, (root, members) in enumerate(groups.items()):
        if not has_time():
            break
        progress(index + 1, len(groups))
        tried = [ranges_by(methods)[root]]
        for method in candidates[members[0]]:
            changed = {**methods, **dict.fromkeys(members, method)}
            found = ranges_by(changed)
            if any(_same(found[root], known) for known in tried):
                continue
            tried.append(found[root])
            noise = rounded.noise(found)
            if noise < (1 - _LEAST_GAIN) * least:
                methods, least = changed, noise
    return methods


def _same(one: Range, other: Range) -> bool:
    width = max(one[1] - one[0], other[1] - other[0])
    return max(abs(one[0] - other[0]), abs(one[1] - other[1])) <= _SAME * width


class _Rounded:
    """A float model whose activations are rounded over ranges that each call gives anew."""

    def __init__(self, model: onnx.ModelProto, placement: Placement, scheme: Scheme, images: Array) -> None:
        self._scheme = scheme
        self._reference = Reference.of(model, images)
        known = readouts(model)
        # Scales are inputs of the graph: one session serves for all ranges. ONNX Runtime 1.31 drops a Clip
        # before a QuantizeLinear even where it cannot know the scale, so its optimizer stays out of it.
        opened, self._ends = _with_open_scales(with_outputs(model, known), placement.tensors, scheme)
        self._network = Network.rewritten(opened, known)

    def noise(self, ranges: Mapping[str, Range]) -> float:
        """Return the noise's share of the output's energy; of several outputs, of the worst."""
        scales: dict[str, npt.NDArray[np.generic]] = {}
        for name, ends in ranges.items():
            scale, zero = write_qdq.scale_and_zero(*ends, self._scheme)
            scales.update(zip(self._ends[name], (np.array(scale), zero), strict=True))
        outputs = self._network(self._reference.images, scales)
        found = self._reference.parity_of(outputs, "the network with rounded activations")
        return float(10 ** (-found.sqnr_db / 10))


def _with_open_scales(
    model: onnx.ModelProto, tensors: list[str], scheme: Scheme
) -> tuple[onnx.ModelProto, dict[str, list[str]]]:
    """Return the model with a Q/DQ pair on each tensor, and the graph inputs of its scale and zero point."""
    result = copy_of(model)
    integer = TensorProto.INT8 if scheme.symmetric else TensorProto.UINT8
    names = Names.of_tensors(model)
    inputs = {name: [names.fresh(f"{name}_scale"), names.fresh(f"{name}_zero")] for name in tensors}
    codes = {name: names.fresh(f"{name}_quantized") for name in tensors}
    dequantized = {name: names.fresh(f"{name}_dequantized") for name in tensors}
    nodes: list[onnx.NodeProto] = []

    def pair(name: str) -> None:
        if name not in inputs:
            return
        ends = inputs[name]
        for end, kind in zip(ends, (TensorProto.FLOAT, integer), strict=True):
            result.graph.input.append(helper.make_tensor_value_info(end, kind, []))
        nodes.append(helper.make_node("QuantizeLinear", [name, *ends], [codes[name]]))
        nodes.append(helper.make_node("DequantizeLinear", [codes[name], *ends], [dequantized[name]]))

    for name in Graph(model).inputs:
        pair(name)
    for node in result.graph.node:
        node.input[:] = [dequantized.get(name, name) for name in node.input]
        nodes.append(node)
        for name in node.output:
            pair(name)
    replace_nodes(result, nodes)
    del result.graph.value_info[:]
    return result, inputs
