"""ONNX Runtime's own operators, domain com.microsoft: written as standard ones where these say the same.

ONNX Runtime writes them into files that it optimized. What has no standard form stays as it is, in float.
Source: ONNX Runtime's documentation, docs/ContribOperators.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from edgecnn.errors import ArtifactError
from edgecnn.quantize.graph.edit import Editor, replace_nodes
from edgecnn.quantize.graph.index import Graph, attribute, is_standard
from edgecnn.quantize.graph.opset import opset_of

_DOMAIN = "com.microsoft"
#: Domains of kernels for one processor: their weights lie in an order of its own.
_ONE_PROCESSOR = re.compile(r"com\.microsoft\.(nchwc|internal.*)|ai\.onnx\.contrib\.nchwc")
_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Elu": ("alpha",)}
_PLAIN = ("Relu", "Sigmoid", "Tanh")


def use_standard(model: onnx.ModelProto) -> None:
    """Rewrite, in place, the operators of com.microsoft that have a standard form.

    Raises ArtifactError, naming the node, for an operator of a processor's own layout.
    """
    graph = Graph(model)
    foreign = [node for node in graph.nodes if not is_standard(node)]
    for node in foreign:
        if _ONE_PROCESSOR.fullmatch(node.domain):
            raise ArtifactError(
                f"the model was optimized for one processor: {node.op_type} {node.name or node.output[0]!r}"
                f" is of {node.domain}",
                hint="give the file from before ONNX Runtime optimized it",
            )
    if not any(node.domain == _DOMAIN and node.op_type in _FORMS for node in foreign):
        return
    writer = _Writer(model)
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        form = _FORMS.get(node.op_type) if node.domain == _DOMAIN else None
        made = form(writer, node) if form else None
        nodes += [node] if made is None else made
    replace_nodes(model, nodes)


class _Writer:
    """Makes the nodes that stand for one, and the constants that they read."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._editor = Editor(model)
        self.graph, self._names = self._editor.graph, self._editor.tensors
        self._opset = opset_of(model)

    def fused_conv(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """FusedConv: Conv, then a sum with the fourth input, then an activation."""
        values: list[float] = attribute(node, "activation_params", [])
        activation = self._activation(attribute(node, "activation", ""), values)
        if activation is None:
            return None
        conv = helper.make_node("Conv", list(node.input[:3]), list(node.output), name=node.name)
        conv.attribute.extend(item for item in node.attribute if not item.name.startswith("activation"))
        while not conv.input[-1]:
            del conv.input[-1]
        nodes = [conv]
        if len(node.input) > 3 and node.input[3]:
            nodes.append(self._then(nodes, "Add", [node.input[3]]))
        return self._ended(nodes, activation)

    def fused_gemm(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """FusedGemm: Gemm, then an activation."""
        kind = attribute(node, "activation", "")
        given = {item.name for item in node.attribute}
        keys = (f"activation_{name}" for name in _PARAMETERS.get(kind, ()))
        activation = self._activation(kind, [attribute(node, key, 0.0) for key in keys if key in given])
        if activation is None:
            return None
        gemm = helper.make_node("Gemm", list(node.input), list(node.output), name=node.name)
        gemm.attribute.extend(item for item in node.attribute if not item.name.startswith("activation"))
        return self._ended([gemm], activation)

    def fused_matmul(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """FusedMatMul: a MatMul whose second input, a constant matrix, is transposed and scaled."""
        turned = any(attribute(node, name, 0) for name in ("transA", "transBatchA", "transBatchB"))
        if turned or not self.graph.is_constant(node.input[1]):
            return None
        matrix = self.graph.constant(node.input[1])
        if attribute(node, "transB", 0):
            matrix = matrix.swapaxes(-1, -2)
        value = (matrix * np.float32(attribute(node, "alpha", 1.0))).astype(matrix.dtype)
        name = self._constant(f"{node.output[0]}_weight", value)
        return [helper.make_node("MatMul", [node.input[0], name], list(node.output), name=node.name)]

    def gelu(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Gelu: x * 0.5 (1 + erf(x / sqrt(2)))."""
        source, result = node.input[0], node.output[0]
        root, one, half = (
            self._constant(f"{result}_{name}", np.float32(value))
            for name, value in (("root", math.sqrt(2)), ("one", 1.0), ("half", 0.5))
        )
        scaled, erf, moved, gate = (
            self._names.fresh(f"{result}_{part}") for part in ("scaled", "erf", "moved", "gate")
        )
        return [
            helper.make_node("Div", [source, root], [scaled]),
            helper.make_node("Erf", [scaled], [erf]),
            helper.make_node("Add", [erf, one], [moved]),
            helper.make_node("Mul", [moved, half], [gate]),
            helper.make_node("Mul", [source, gate], [result], name=node.name),
        ]

    def bias_gelu(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """BiasGelu: Gelu of a sum."""
        total = self._names.fresh(f"{node.output[0]}_sum")
        rest = helper.make_node("Gelu", [total], list(node.output), name=node.name)
        return [helper.make_node("Add", list(node.input), [total]), *self.gelu(rest)]

    def quick_gelu(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """QuickGelu: x * sigmoid(alpha x)."""
        source, result = node.input[0], node.output[0]
        factor = self._constant(f"{result}_alpha", np.float32(attribute(node, "alpha", 1.702)))
        scaled, gate = (self._names.fresh(f"{result}_{part}") for part in ("scaled", "gate"))
        return [
            helper.make_node("Mul", [source, factor], [scaled]),
            helper.make_node("Sigmoid", [scaled], [gate]),
            helper.make_node("Mul", [source, gate], [result], name=node.name),
        ]

    def _activation(self, kind: str, values: list[float]) -> onnx.NodeProto | None:
        """Return an activation without input and output, Identity for none; None if it is not known."""
        if kind in ("", *_PLAIN):
            return helper.make_node(kind or "Identity", [], [])
        if kind in _PARAMETERS:
            made = helper.make_node(kind, [], [])
            made.attribute.extend(map(helper.make_attribute, _PARAMETERS[kind], values))
            return made
        if kind == "Clip" and len(values) == 2:
            if self._opset < 11:
                return helper.make_node(kind, [], [], min=values[0], max=values[1])
            ends = [self._constant(f"clip_{value:g}", np.float32(value)) for value in values]
            return helper.make_node(kind, ["", *ends], [])
        return None

    def _ended(self, nodes: list[onnx.NodeProto], activation: onnx.NodeProto) -> list[onnx.NodeProto]:
        if activation.op_type == "Identity":
            return nodes
        following = self._then(nodes, activation.op_type, list(activation.input[1:]))
        following.attribute.extend(activation.attribute)
        return [*nodes, following]

    def _then(self, nodes: list[onnx.NodeProto], op: str, others: list[str]) -> onnx.NodeProto:
        """Return a node that makes what the last one made, out of what it makes now under another name."""
        last, result = nodes[-1], nodes[-1].output[0]
        last.output[0] = self._names.fresh(f"{result}_before_{op.lower()}")
        return helper.make_node(op, [last.output[0], *others], [result])

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        return self._editor.add_constant(name, value)


_FORMS: dict[str, Callable[[_Writer, onnx.NodeProto], list[onnx.NodeProto] | None]] = {
    "FusedConv": _Writer.fused_conv,
    "FusedGemm": _Writer.fused_gemm,
    "FusedMatMul": _Writer.fused_matmul,
    "Gelu": _Writer.gelu,
    "BiasGelu": _Writer.bias_gelu,
    "QuickGelu": _Writer.quick_gelu,
}
