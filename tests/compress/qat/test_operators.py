"""Single operators with the attributes that are easy to get wrong, against ONNX Runtime."""

import numpy as np
import onnx
import pytest
import torch
from onnx import parser
from onnx.reference import ReferenceEvaluator

from edgecnn.compress.qat.graph_module import GraphModule
from edgecnn.errors import InvalidValueError
from edgecnn.runtime.ort_engine import open_session

RNG = np.random.default_rng(0)

#: Nodes from x (N, 4, 9, 10) to y, in ONNX's text form; constants of their own stand in front.
NODES = {
    "conv, uneven pads": "y = Conv<pads = [0, 1, 2, 0], strides = [2, 1]>(x, w)",
    "conv, dilated groups": "y = Conv<group = 2, dilations = [2, 1], pads = [1, 1, 1, 1]>(x, g)",
    "conv, same upper": 'y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w)',
    "conv, same lower": 'y = Conv<auto_pad = "SAME_LOWER", strides = [2, 2]>(x, w)',
    "conv, valid": 'y = Conv<auto_pad = "VALID">(x, w)',
    "max pool, ceil": "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)",
    "max pool, ceil into padding": (
        "y = MaxPool<kernel_shape = [2, 2], strides = [4, 4], pads = [0, 0, 1, 1], ceil_mode = 1>(x)"
    ),
    "max pool, uneven pads": "y = MaxPool<kernel_shape = [2, 3], pads = [1, 0, 0, 2], strides = [2, 2]>(x)",
    "max pool, wide pads": "y = MaxPool<kernel_shape = [3, 3], pads = [2, 2, 2, 2]>(x)",
    "max pool, dilated": "y = MaxPool<kernel_shape = [2, 2], dilations = [2, 3]>(x)",
    "average pool, ceil": "y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)",
    "average pool, pads left out": "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)",
    "average pool, pads counted": (
        "y = AveragePool<kernel_shape = [3, 3], pads = [1, 0, 1, 2], count_include_pad = 1>(x)"
    ),
    "average pool, ceil and pads counted": (
        "y = AveragePool<kernel_shape = [3, 3], strides = [3, 2], pads = [1, 1, 1, 1], ceil_mode = 1,"
        " count_include_pad = 1>(x)"
    ),
    "average pool, same": (
        'y = AveragePool<kernel_shape = [3, 2], strides = [2, 2], auto_pad = "SAME_LOWER">(x)'
    ),
    "lrn, odd": "y = LRN<size = 3, alpha = 0.5, beta = 0.6, bias = 2.0>(x)",
    "reshape, copied and inferred": (
        "s = Constant<value = int64[3] {0, -1, 5}>() r = Reshape(x, s) y = Transpose<perm = [0, 2, 1]>(r)"
    ),
    "flatten, axis": "y = Flatten<axis = -2>(x)",
    "gemm": "f = Flatten(x) y = Gemm<alpha = 0.5, beta = 2.0>(f, m, b)",
    "gemm, transposed": "f = Flatten(x) y = Gemm<transB = 1>(f, t, b)",
    "split, uneven": (
        "s = Constant<value = int64[2] {1, 3}>() a, c = Split<axis = 1>(x, s) y = Concat<axis = -1>(a, a)"
    ),
    "split, in equal parts": "a, c, d, e = Split<axis = 1, num_outputs = 4>(x) y = Sub(c, e)",
    "split, last part smaller": (
        "a, c = Split<axis = 2, num_outputs = 2>(x) p = Softmax<axis = 1>(c) y = Relu(p)"
    ),
    "slice, backwards": (
        "s = Constant<value = int64[2] {-1, 7}>() e = Constant<value = int64[2] {-99, 1}>()"
        " a = Constant<value = int64[2] {1, -2}>() p = Constant<value = int64[2] {-1, -2}>()"
        " y = Slice(x, s, e, a, p)"
    ),
    "slice, beyond the end": (
        "s = Constant<value = int64[1] {2}>() e = Constant<value = int64[1] {99}>()"
        " a = Constant<value = int64[1] {3}>() y = Slice(x, s, e, a)"
    ),
    "gather": "i = Constant<value = int64[2, 2] {0, -1, 2, 2}>() y = Gather<axis = 1>(x, i)",
    "gather, one": "i = Constant<value = int64 {-1}>() y = Gather<axis = 2>(x, i)",
    "pad, constant": (
        "p = Constant<value = int64[8] {0, 1, 0, 2, 0, 0, 3, 0}>() v = Constant<value = float {1.5}>()"
        " y = Pad(x, p, v)"
    ),
    "pad, cut off": "p = Constant<value = int64[8] {0, 0, -1, 0, 0, 0, 0, -2}>() y = Pad(x, p)",
    "pad, reflected": (
        'p = Constant<value = int64[8] {0, 0, 2, 3, 0, 0, 1, 0}>() y = Pad<mode = "reflect">(x, p)'
    ),
    "pad, edge": (
        "p = Constant<value = int64[4] {2, 3, 1, 0}>() a = Constant<value = int64[2] {-2, 3}>()"
        ' y = Pad<mode = "edge">(x, p, , a)'
    ),
    "clip, from below": "l = Constant<value = float {-0.3}>() y = Clip(x, l)",
    "clip, from above": "h = Constant<value = float {0.3}>() y = Clip(x, , h)",
    "hard sigmoid": "y = HardSigmoid<alpha = 0.7, beta = 0.1>(x)",
    "hard swish": "k = Constant<value = float {4.0}>() z = Mul(x, k) y = HardSwish(z)",
    "leaky relu": "y = LeakyRelu<alpha = 0.3>(x)",
    "prelu": "y = PRelu(x, q)",
    "elu": "y = Elu<alpha = 0.5>(x)",
    "gelu": 'y = Gelu<approximate = "tanh">(x)',
    "batch normalization": "y = BatchNormalization<epsilon = 0.1>(x, b4, c4, b4, v4)",
    "layer normalization": "y = LayerNormalization<axis = 2, epsilon = 0.1>(x, l2, m2)",
    "reduce mean": "a = Constant<value = int64[2] {1, -1}>() y = ReduceMean<keepdims = 0>(x, a)",
    "expand": "o = Constant<value = int64[5] {2, 1, 4, 1, 1}>() y = Expand(x, o)",
    "unsqueeze": "a = Constant<value = int64[2] {-1, 1}>() u = Unsqueeze(x, a) y = Concat<axis = -1>(u, u)",
    "batch from the shape": (
        "n0 = Shape<start = 0, end = 1>(x) r = Constant<value = int64[1] {-1}>() s = Concat<axis = 0>(n0, r)"
        " y = Reshape(x, s)"
    ),
}
CONSTANTS = {
    "w": (5, 4, 3, 3), "g": (6, 2, 3, 2), "m": (360, 5), "t": (5, 360), "b": (5,), "q": (4, 1, 1),
    "b4": (4,), "c4": (4,), "v4": (4,), "l2": (9, 10), "m2": (9, 10),
}  # fmt: skip


def model(nodes: str) -> onnx.ModelProto:
    shapes = ", ".join(f"float[{','.join(map(str, shape))}] {name}" for name, shape in CONSTANTS.items())
    built = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 20]> graph '
        f"(float[N, 4, 9, 10] x, {shapes}) => (float[] y) {{ {nodes} }}"
    )
    built.graph.output[0].type.tensor_type.ClearField("shape")
    del built.graph.input[1:]
    for name, shape in CONSTANTS.items():
        value = np.abs(RNG.standard_normal(shape)).astype(np.float32)
        built.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    for number, node in enumerate(built.graph.node):
        node.name = f"node{number}"
    return built


@pytest.mark.parametrize("name", NODES)
def test_the_operator_computes_what_onnx_runtime_computes(name):
    built = model(NODES[name])
    # For maxima all below zero: padding with zeros would show.
    x = RNG.standard_normal((3, 4, 9, 10)).astype(np.float32) - 5 * ("MaxPool" in NODES[name])
    wanted = open_session(built.SerializeToString()).run(["y"], {"x": x})[0]
    given = GraphModule(built)(torch.from_numpy(x)).detach().numpy()
    # Logits are flat, so what shape a node gives shows in the order of the values.
    np.testing.assert_allclose(given, wanted.reshape(len(wanted), -1), rtol=1e-4, atol=1e-5)


def test_response_normalization_over_an_even_number_of_channels():
    built = model("y = LRN<size = 2, alpha = 0.5, beta = 0.6, bias = 2.0>(x)")
    x = RNG.standard_normal((4, 4, 9, 10)).astype(np.float32)
    # ONNX Runtime takes odd numbers only.
    (wanted,) = ReferenceEvaluator(built).run(None, {"x": x})
    np.testing.assert_allclose(
        GraphModule(built)(torch.from_numpy(x)).numpy(), wanted.reshape(4, -1), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("node", "what"),
    [
        ("y = Det(x)", "operator Det"),
        ("y, i = MaxPool<kernel_shape = [2, 2]>(x)", "a second output"),
        ("y = AveragePool<kernel_shape = [2, 2], dilations = [2, 2]>(x)", "dilations"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(node, what):
    with pytest.raises(InvalidValueError, match=what):
        GraphModule(model(node))


def test_a_convolution_over_time_is_refused():
    built = model("y = Conv<pads = [1, 1]>(x, w)")
    with pytest.raises(InvalidValueError, match="windows over 1 axes"):
        GraphModule(built)(torch.zeros(1, 4, 9))
