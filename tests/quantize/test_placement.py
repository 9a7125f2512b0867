"""One small graph per pattern: which tensors are quantized, which nodes stay float and why."""

import numpy as np
import onnx
import pytest
from onnx import parser

from edgecnn.export.request import RANGE_METHODS
from edgecnn.quantize import quantize
from edgecnn.quantize.graph import Graph, macs_by_node
from edgecnn.quantize.placement import place
from edgecnn.quantize.ranges import METHODS
from edgecnn.runtime.ort import open_session
from edgecnn.targets import CPU, PORTABLE

RNG = np.random.default_rng(0)
GRAPHS = {
    # name: (nodes, output, quantized tensors, shares, float nodes)
    "conv and relu": (
        "c = Conv(x, w) y = Relu(c)", {"x"}, {}, {},
    ),
    "two convolutions": (
        "c = Conv(x, w) r = Relu(c) y = Conv(r, w)", {"x", "r"}, {}, {},
    ),
    "linear convolution before another": (
        "c = Conv(x, w) y = Conv(c, w)", {"x", "c"}, {}, {},
    ),
    "residual": (
        "c = Conv(x, w) r = Relu(c) d = Conv(r, w) s = Add(r, d) t = Relu(s) y = Conv(t, w)",
        {"x", "r", "d", "t"}, {}, {},
    ),
    "convolution read twice is quantized before its activation": (
        "c = Conv(x, w) r = Relu(c) y = Add(r, c)", {"x", "c", "r"}, {}, {},
    ),
    "max pooling keeps the scale": (
        "c = Conv(x, w) p = MaxPool <kernel_shape=[2, 2]> (c) y = Conv(p, w)",
        {"x", "c", "p"}, {"p": "c"}, {},
    ),
    "two moves in a row share the first one's scale": (
        "c = Conv(x, w) p = MaxPool <kernel_shape=[2, 2]> (c)"
        " q = MaxPool <kernel_shape=[2, 2]> (p) y = Conv(q, w)",
        {"x", "c", "p", "q"}, {"p": "c", "q": "c"}, {},
    ),
    "average pooling has scales of its own": (
        "c = Conv(x, w) p = GlobalAveragePool(c) y = Conv(p, w)", {"x", "c", "p"}, {}, {},
    ),
    "an activation without int8 form stays float": (
        "c = Conv(x, w) t = Tanh(c) y = Conv(t, w)", {"x", "c", "t"}, {}, {"Tanh": "no int8 form: Tanh"},
    ),
    "a convolution by a computed weight stays float": (
        "v = Relu(x) y = Conv(x, v)", set(), {}, {"Conv": "its weights are not constant"},
    ),
}  # fmt: skip


def model_of(nodes: str) -> onnx.ModelProto:
    text = f"""
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[n, 4, 9, 9] x) => (float[n, 4, h, k] y) <float[4, 4, 1, 1] w> {{ {nodes} }}
    """
    model = parser.parse_model(text)
    weight = RNG.normal(size=(4, 4, 1, 1)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    used: dict[str, int] = {}
    for node in model.graph.node:
        used[node.op_type] = used.get(node.op_type, 0) + 1
        node.name = node.op_type + (str(used[node.op_type]) if used[node.op_type] > 1 else "")
    for tensor in list(model.graph.initializer)[:-1]:
        model.graph.initializer.remove(tensor)
    del model.graph.value_info[:]
    return model


@pytest.mark.parametrize("name", GRAPHS)
def test_placement(name):
    nodes, tensors, shares, float_nodes = GRAPHS[name]
    placement = place(Graph(model_of(nodes)))
    assert set(placement.tensors) == tensors
    assert placement.shares == shares
    assert placement.float_nodes == float_nodes


@pytest.mark.parametrize("scheme", [PORTABLE, CPU], ids=lambda scheme: scheme.name)
@pytest.mark.parametrize("name", [name for name in GRAPHS if "computed" not in name])
def test_the_quantized_graph_is_valid_runs_and_is_near_the_float_one(name, scheme):
    model = model_of(GRAPHS[name][0])
    images = RNG.normal(size=(16, 4, 9, 9)).astype(np.float32)
    quantized = quantize(model, [images], scheme, "minmax").model
    onnx.checker.check_model(quantized, full_check=True)
    reference, output = (
        open_session(item.SerializeToString()).run(None, {"x": images})[0] for item in (model, quantized)
    )
    noise = np.sum((reference - output) ** 2) / np.sum(reference**2)
    assert 0 < noise < 10**-2.5


def scales(model: onnx.ModelProto) -> dict[str, tuple[float, int]]:
    values = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    return {
        node.input[0]: (float(values[node.input[1]]), values[node.input[2]].item())
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


def test_tensors_that_share_a_scale_have_the_same_one():
    model = model_of(GRAPHS["two moves in a row share the first one's scale"][0])
    found = scales(quantize(model, [RNG.normal(size=(4, 4, 9, 9)).astype(np.float32)], CPU).model)
    assert found["c"] == found["p"] == found["q"] != found["x"]


@pytest.mark.parametrize("scheme", [PORTABLE, CPU], ids=lambda scheme: scheme.name)
def test_the_scheme_decides_zero_points_and_biases(scheme):
    model = model_of("c = Conv(x, w, b) r = Relu(c) y = Conv(r, w)")
    bias = onnx.numpy_helper.from_array(RNG.normal(size=4).astype(np.float32), "b")
    model.graph.initializer.append(bias)
    quantized = quantize(model, [RNG.normal(size=(4, 4, 9, 9)).astype(np.float32)], scheme).model
    types = {item.name: item.data_type for item in quantized.graph.initializer}
    zero = {onnx.TensorProto.UINT8} if scheme is CPU else {onnx.TensorProto.INT8}
    assert {types[node.input[2]] for node in quantized.graph.node if node.op_type == "QuantizeLinear"} == zero
    assert ("b" in types) == (scheme is PORTABLE)
    assert (onnx.TensorProto.INT32 in types.values()) == (scheme is CPU)
    if scheme is PORTABLE:
        assert all(point == 0 for _, point in scales(quantized).values())


def test_int8_arithmetic_equals_a_reference_in_integers():
    """One convolution, computed here with integers only, against ONNX Runtime's int8 kernel."""
    model = model_of("c = Conv(x, w) y = Conv(c, w)")
    images = RNG.normal(size=(2, 4, 9, 9)).astype(np.float32)
    quantized = quantize(model, [images], CPU, "minmax").model
    values = {item.name: onnx.numpy_helper.to_array(item) for item in quantized.graph.initializer}
    x_scale, x_zero = values["x_scale"], values["x_zero"].astype(np.int32)
    c_scale, c_zero = values["c_scale"], values["c_zero"].astype(np.int32)
    weight = values["Conv/weight_quantized"][:, :, 0, 0].astype(np.int32)
    x = np.clip(np.rint(images / x_scale) + x_zero, 0, 255).astype(np.int32) - x_zero
    sums = np.einsum("oi,nihw->nohw", weight, x)
    rescaled = sums * (x_scale * values["Conv/weight_scale"] / c_scale)[:, None, None]
    expected = (np.clip(np.rint(rescaled) + c_zero, 0, 255) - c_zero) * c_scale
    quantized.graph.output.append(onnx.helper.make_empty_tensor_value_info("c_dequantized"))
    got = open_session(quantized.SerializeToString()).run(["c_dequantized"], {"x": images})[0]
    assert np.abs(got - expected).max() <= 1.001 * c_scale
    assert np.mean(got != expected.astype(np.float32)) < 0.01


def test_macs_are_counted_per_image():
    assert macs_by_node(model_of("c = Conv(x, w) y = Relu(c)")) == {"Conv": 4 * 4 * 81}


def test_a_matmul_has_one_scale_per_output_column():
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[n, 5, 6] x) => (float[n, 5, 4] y) { y = MatMul(x, w) }
    """
    model = parser.parse_model(text)
    model.graph.node[0].name = "m"
    weight = (RNG.normal(size=(6, 4)) * np.array([1, 10, 100, 1000])).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    images = RNG.normal(size=(8, 5, 6)).astype(np.float32)
    quantized = quantize(model, [images], PORTABLE, "minmax").model
    values = {item.name: onnx.numpy_helper.to_array(item) for item in quantized.graph.initializer}
    np.testing.assert_allclose(values["m/weight_scale"], np.abs(weight).max(axis=0) / 127, rtol=1e-6)
    output = open_session(quantized.SerializeToString()).run(None, {"x": images})[0]
    assert np.sum((images @ weight - output) ** 2) < 1e-3 * np.sum(output**2)


def test_the_methods_that_an_export_knows_are_those_there_are():
    assert set(RANGE_METHODS) == set(METHODS)
