"""The table of patterns: what a quantized graph does with each operator, and which rule leaves it in float.

Sources: NVIDIA's TensorRT documentation, "Explicit Quantization", on where fusions want Q/DQ pairs; ONNX
Runtime's QDQ selectors, which name the operators with an integer kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from edgecnn.quantize.graph.index import Graph, attribute, is_standard
from edgecnn.quantize.graph.integer_activations import is_slope, swish_floor
from edgecnn.quantize.graph.slow_kernels import slow_kernel
from edgecnn.quantize.graph.weighted_layer import WEIGHTED, view_of
from edgecnn.schemes import Scheme

COMPUTE = "compute"  # weighted sum: int8 weights, quantized input
ARITHMETIC = "arithmetic"  # every input is quantized
POOL = "pool"  # quantized input, and an output with a scale of its own
KEEP_SCALE = "keep scale"  # moves values without changing them: its input and outputs share a scale
JOIN = "join"  # a concatenation: all its inputs and its output share a scale
ACTIVATION = "activation"  # fuses into the node before it, or has an integer kernel, or stays float
POINTWISE = "pointwise"  # stays float, but reads its input no faster than memory gives it: int8 helps
FLOAT = "float"  # stays float, and gains nothing from an int8 input
SHAPE = "shape"  # arithmetic on shapes, not on feature maps

PATTERNS: dict[str, str] = {
    **dict.fromkeys(WEIGHTED, COMPUTE),
    **dict.fromkeys(("Add", "Mul"), ARITHMETIC),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean"), POOL),
    **dict.fromkeys(("MaxPool", "GlobalMaxPool", "ReduceMax", "Pad", "Resize", "Upsample"), KEEP_SCALE),
    **dict.fromkeys(
        ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Expand", "Tile"), KEEP_SCALE
    ),
    **dict.fromkeys(("Split", "Slice", "Gather", "DepthToSpace", "SpaceToDepth"), KEEP_SCALE),
    **dict.fromkeys(("Identity", "Dropout"), KEEP_SCALE),
    "Concat": JOIN,
    **dict.fromkeys(("Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Tanh"), ACTIVATION),
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Gelu", "Mish"), ACTIVATION),
    **dict.fromkeys(("Softplus", "Softsign", "Erf"), ACTIVATION),
    **dict.fromkeys(("BatchNormalization", "Sub", "Div", "Neg", "Abs", "Exp", "Sqrt"), POINTWISE),
    **dict.fromkeys(("Pow", "Log", "Reciprocal"), POINTWISE),
    **dict.fromkeys(("Shape", "Size", "ConstantOfShape", "Range"), SHAPE),
}
#: Why a weighted sum of a softmax's shares stays float, such as the mean of a box's side over 16 bins: a step
#: of its int8 weights moves the side by a tenth of a cell, and it costs next to nothing.
AVERAGES = "it averages a distribution: Softmax"
#: A tensor times a function of itself is an activation with a name: by the first of these in the function.
_GATES = {
    "Softplus": "Mish", "Log": "Mish", "Sigmoid": "Swish", "HardSigmoid": "HardSwish", "Erf": "Gelu",
    "Tanh": "Gelu", "Clip": "HardSwish", "Relu": "PRelu",
}  # fmt: skip
_GATED = "gated activation"
#: What a function of one tensor is that divides by a root of its means, and what tells that it does.
_NORMALIZATION = "normalization"
_REDUCTIONS = frozenset({"ReduceMean", "GlobalAveragePool", "ReduceSum", "ReduceSumSquare", "ReduceL2"})
_ROOTS = frozenset({"Sqrt", "Pow", "ReduceL2"})
#: Such functions have so many nodes at most: GELU's by tanh nine, a normalization with its factors fourteen.
_LONGEST = 16
#: By how many times factors may differ that are rounded to eight bits with one scale: to a hundredth then.
_ALIKE = 4


class Pattern:
    """What is to be done with one node.

    - `kind` is one of the table's; `rule` says why the node stays float, where that is already known.
    - `op` is its operator; for a gated activation the operator that computes the same.
    - `inputs` and `outputs` are the tensors that carry feature maps, not weights, shapes or bounds.
    - `parts` are the nodes that it stands for: several for a gated activation, in the graph's order.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        kind: str,
        rule: str | None,
        variable: list[str],
        gate: list[onnx.NodeProto],
    ) -> None:
        self.node, self.kind, self.rule = node, kind, rule
        self.parts = [*gate, node]
        self.op = node.op_type
        several = kind in (ARITHMETIC, JOIN, POINTWISE)
        self.inputs = variable if several else [name for name in node.input[:1] if name in variable]
        self.outputs = [name for name in node.output if name] if self.op == "Split" else [node.output[0]]
        if gate:
            self.op = _name_of(gate)
            self.inputs = variable


def match(graph: Graph, scheme: Scheme, exclude: Mapping[str, str]) -> list[Pattern]:
    """Return the patterns that the graph's nodes form, in its order.

    `exclude` gives the rule of each node that stays float in any case.
    """
    gates = _gates(graph, scheme)
    inner = {part.name for gate in gates.values() for part in gate}
    shapes: set[str] = set()
    patterns = []
    for node in graph.nodes:
        read = [name for name in node.input if name and not graph.is_constant(name)]
        variable = [name for name in read if name not in shapes]
        kind, rule = _kind(graph, scheme, node, len(variable))
        if not variable or kind == SHAPE:
            shapes.update(node.output)
            continue
        gate = gates.get(node.name, [])
        if gate:
            normalizes = _name_of(gate) == _NORMALIZATION
            kind, rule = (FLOAT, f"no int8 form: {_NORMALIZATION}") if normalizes else (ACTIVATION, None)
            variable = _read_from_outside(graph, [*gate, node])
        excluded = [exclude[part.name] for part in (*gate, node) if part.name in exclude]
        if excluded:
            kind, rule = FLOAT, excluded[0]
        if node.name not in inner:
            patterns.append(Pattern(node, kind, rule, variable, gate))
    return patterns


def _kind(graph: Graph, scheme: Scheme, node: onnx.NodeProto, variable: int) -> tuple[str, str | None]:
    """Return the kind of a node that reads `variable` feature maps, and the rule by which it stays float."""
    op = node.op_type
    kind = PATTERNS.get(op, FLOAT) if is_standard(node) else FLOAT
    no_form = f"no int8 form: {op}"
    if kind in (FLOAT, POINTWISE):
        return kind, no_form
    if kind == COMPUTE and op in scheme.left_float:
        return FLOAT, no_form
    if kind == COMPUTE:
        rule = _unfit(graph, scheme, node)
        return (FLOAT, rule) if rule else (kind, None)
    if kind in (ARITHMETIC, JOIN) and variable < len(node.input):
        if kind == ARITHMETIC and scheme.integer_constants and integer_constant(graph, node):
            return kind, None
        return (FLOAT if kind == JOIN else POINTWISE), by_constant(op)
    if op == "ReduceMean" and not over_height_and_width(graph, node):
        return FLOAT, no_form
    if op in ("Resize", "Upsample") and (mode := attribute(node, "mode", "nearest")) != "nearest":
        kind = POOL
        if mode not in ("linear", "bilinear"):
            return POINTWISE, f"it interpolates by {mode}: {op}"
    if op == "Pad" and not pads_with_range(graph, node):
        return FLOAT, "it pads with a value other than zero"
    return (POINTWISE, no_form) if kind == POOL and op in scheme.left_float else (kind, None)


def by_constant(op: str) -> str:
    """Return the rule by which an Add, Mul or Concat with a constant stays float."""
    does = {"Add": "adds", "Mul": "multiplies by", "Concat": "joins"}[op]
    return f"it {does} a constant"


def _unfit(graph: Graph, scheme: Scheme, node: onnx.NodeProto) -> str | None:
    """Return the rule by which a weighted node cannot be quantized; None if it can."""
    if not graph.is_constant(node.input[1]):
        return "its weights are not constant"
    if graph.is_constant(node.input[0]):
        return "its input is constant"
    weight = graph.constant(node.input[1])
    if weight.ndim < 2:
        return "its weights are a vector"
    if node.op_type == "MatMul" and weight.ndim > 2:
        return "its weights are more than one matrix"
    if view_of(graph, node).outputs == 1 and _is_distribution(graph, node.input[0]):
        return AVERAGES
    # Its output channels lie on axis 1 of the weight, group after group on the same entries: engines
    # disagree on which scale is whose.
    if node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1:
        return "a grouped ConvTranspose"
    if scheme.quantize_bias and len(node.input) > 2 and node.input[2]:
        if not graph.is_constant(node.input[2]):
            return "its bias is not constant"
        if graph.constant(node.input[2]).shape != (view_of(graph, node).outputs,):
            return "its bias is not one value per channel"
    return slow_kernel(graph, node) if scheme.skips_slow_kernels else None


def integer_constant(graph: Graph, node: onnx.NodeProto) -> str | None:
    """Return the constant of an Add or Mul that eight bits are enough for; None where there is none.

    One number is exact. Of several, none may be so small beside the largest that its rounding matters.
    """
    constants = [name for name in node.input if name and graph.is_constant(name)]
    if len(constants) != 1 or len(node.input) != 2:
        return None
    value = graph.constant(constants[0])
    if value.dtype != np.float32 or not value.size or not np.isfinite(value).all() or not value.any():
        return None
    if value.size == 1:
        return constants[0]
    alike = np.abs(value).min() * _ALIKE >= np.abs(value).max()
    return constants[0] if node.op_type == "Mul" and (alike or is_slope(graph, node)) else None


def integer_constants(graph: Graph, matched: Iterable[Pattern]) -> dict[str, str]:
    """Return the constants that sums and products read which are quantized, by the name of the node."""
    found = {
        item.node.name: integer_constant(graph, item.node) for item in matched if item.kind == ARITHMETIC
    }
    return {name: constant for name, constant in found.items() if constant is not None}


def _is_distribution(graph: Graph, tensor: str) -> bool:
    """Return whether the values of a tensor are those of a softmax, moved at most."""
    maker = graph.producer(tensor)
    while maker is not None and PATTERNS.get(maker.op_type) == KEEP_SCALE:
        maker = graph.producer(maker.input[0])
    return maker is not None and maker.op_type == "Softmax"


def _gates(graph: Graph, scheme: Scheme) -> dict[str, list[onnx.NodeProto]]:
    """Return by name the nodes that end an activation or a normalization, and the others of each."""
    gates: dict[str, list[onnx.NodeProto]] = {}
    inner: set[str] = set()
    order = {name: index for index, node in enumerate(graph.nodes) for name in node.output}
    for node in reversed(graph.nodes):  # the larger ones, which hold others, end later
        if node.op_type not in ("Mul", "Div", "Add", "Sub") or node.name in inner:
            continue
        gate = _gate(graph, node, order)
        operators = {part.op_type for part in gate}
        # Where the gate has an integer kernel of its own, gate and product are quantized each by itself.
        alone = len(gate) == 1 and gate[0].op_type in scheme.needs_output
        leak = node.op_type == "Add" and any(part.op_type == "Mul" and is_slope(graph, part) for part in gate)
        if scheme.integer_constants and (leak or swish_floor(graph, node) is not None):
            continue
        activation = node.op_type == "Mul" and gate and not alone and not operators & _REDUCTIONS
        if activation or leak or _name_of(gate) == _NORMALIZATION:
            gates[node.name] = gate
            inner.update(part.name for part in gate)
    return gates


def _name_of(gate: list[onnx.NodeProto]) -> str:
    """Return what a function of one tensor is called, by the nodes before its last."""
    operators = {part.op_type for part in gate}
    if operators & _REDUCTIONS:
        return _NORMALIZATION if operators & _ROOTS else ""
    return next((name for inner, name in _GATES.items() if inner in operators), _GATED)


def _gate(graph: Graph, last: onnx.NodeProto, order: Mapping[str, int]) -> list[onnx.NodeProto]:
    """Return the nodes that make both inputs of the last one out of one tensor, in the graph's order.

    They are pointwise functions and means, read by nothing else: in x * sigmoid(x), in
    0.5 x * (1 + erf(x / sqrt(2))), in what GELU by tanh makes of x and its cube, and in what divides x by the
    root of its variance. Else empty. `order` has the place of each tensor's node in the graph.
    """
    gate = [last]
    ends = set(_read_from_outside(graph, gate))
    while len(ends) > 1 and len(gate) <= _LONGEST:
        node = graph.producer(max(ends, key=lambda name: order.get(name, -1)))
        if node is None or node.output[0] in graph.outputs or not _pointwise_or_mean(node):
            return []
        if any(all(reader is not part for part in gate) for reader in graph.consumers(node.output[0])):
            return []
        gate.insert(0, node)
        ends = set(_read_from_outside(graph, gate))
    return gate[:-1] if len(ends) == 1 else []


def _pointwise_or_mean(node: onnx.NodeProto) -> bool:
    return node.op_type in _REDUCTIONS or PATTERNS.get(node.op_type) in (ACTIVATION, ARITHMETIC, POINTWISE)


def _read_from_outside(graph: Graph, nodes: list[onnx.NodeProto]) -> list[str]:
    """Return the tensors, not constants, that nodes read and do not make."""
    made = {name for node in nodes for name in node.output}
    read = (name for node in nodes for name in node.input if name and not graph.is_constant(name))
    return list(dict.fromkeys(name for name in read if name not in made))


def over_height_and_width(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a ReduceMean is a global average pooling of (N, C, H, W)."""
    axes: list[int] = attribute(node, "axes", [])
    if len(node.input) > 1 and graph.is_constant(node.input[1]):
        axes = graph.constant(node.input[1]).tolist()
    return sorted(axis % 4 for axis in axes) == [2, 3]


def pads_with_range(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether padding adds only values that lie in its input's range, which always holds zero."""
    if attribute(node, "mode", "constant") != "constant":
        return True
    if len(node.input) < 3 or not node.input[2]:
        return attribute(node, "value", 0.0) == 0.0
    return graph.is_constant(node.input[2]) and not graph.constant(node.input[2]).any()


def clip_bounds(graph: Graph, node: onnx.NodeProto) -> tuple[float, float] | None:
    """Return between what a Relu or Clip lets values through; None for others, or bounds not constant."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    if node.op_type != "Clip":
        return None
    ends = [-math.inf, math.inf]
    for index, name in enumerate(node.input[1:3]):
        if name:
            if not graph.is_constant(name):
                return None
            ends[index] = float(graph.constant(name))
    return ends[0], ends[1]
