"""One small graph per pattern: which tensors are quantized, which nodes stay float and why."""

import numpy as np
import onnx
import pytest
from onnx import helper, parser
from small_graphs import GOLDEN, model_of
from tensorrt_build import build

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.quantize.int8_options import RANGE_METHODS
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.quantizer import quantize
from edgecnn.quantize.ranges.range_methods import METHODS
from edgecnn.runtime.ort_engine import open_session
from edgecnn.schemes import CPU, OPENVINO, PORTABLE, SCHEMES

RNG = np.random.default_rng(0)
each_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)


def images(count: int) -> np.ndarray:
    return RNG.normal(size=(count, 4, 8, 8)).astype(np.float32)


@each_scheme
@pytest.mark.parametrize("name", GOLDEN)
def test_placement(name, scheme):
    golden = GOLDEN[name]
    tensors, shares, float_nodes = golden.tensors, golden.shares, golden.float_nodes
    if scheme is CPU:
        tensors = tensors if golden.cpu_tensors is None else golden.cpu_tensors
        shares = shares if golden.cpu_shares is None else golden.cpu_shares
        float_nodes = float_nodes if golden.cpu_float is None else golden.cpu_float
    if scheme is OPENVINO and golden.openvino_tensors is not None:
        tensors = golden.openvino_tensors
    placement = place(Graph(model_of(golden.nodes)), scheme)
    assert set(placement.tensors) == set(tensors.split())
    assert placement.shares == shares
    assert placement.float_nodes == float_nodes


@each_scheme
@pytest.mark.parametrize("name", [name for name, golden in GOLDEN.items() if golden.runs])
def test_the_quantized_graph_is_valid_runs_and_is_near_the_float_one(name, scheme):
    model, batch = model_of(GOLDEN[name].nodes), images(16)
    quantized = quantize(model, [batch], scheme, "minmax").model
    onnx.checker.check_model(quantized, full_check=True)
    reference, output = (
        open_session(item.SerializeToString()).run(None, {"x": batch})[0] for item in (model, quantized)
    )
    noise = np.sum((reference - output) ** 2) / np.sum(reference**2)
    assert 0 < noise < 10**-2


@pytest.mark.parametrize("name", [name for name, golden in GOLDEN.items() if golden.integer])
def test_onnx_runtime_takes_integer_kernels(name, tmp_path):
    """Its optimised graph names the kernels; an operator between float and int8 would show here."""
    import onnxruntime

    quantized = quantize(model_of(GOLDEN[name].nodes), [images(4)], CPU, "minmax").model
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = Graph(onnx.load(options.optimized_model_filepath))
    assert set(GOLDEN[name].integer.split()) <= {node.op_type for node in made.nodes}
    for node in made.nodes:
        if node.op_type in GOLDEN[name].integer.split():
            before = made.producer(node.input[0])
            assert before is None or before.op_type != "DequantizeLinear", node.op_type
    # The last convolution gives the output, and a float.
    assert len([node for node in made.nodes if node.op_type in ("Conv", "FusedConv")]) <= 1


def scales(model: onnx.ModelProto) -> dict[str, tuple[float, int]]:
    values = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    return {
        node.input[0]: (float(values[node.input[1]]), values[node.input[2]].item())
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


def test_tensors_that_share_a_scale_have_the_same_one():
    found = scales(quantize(model_of(GOLDEN["two moves in a row"].nodes), [images(4)], CPU).model)
    assert found["c"] == found["p"] == found["m"] != found["x"]


@each_scheme
def test_the_scheme_decides_zero_points_and_biases(scheme):
    model = model_of("c = Conv(x, w, b) r = Relu(c) y = Conv(r, w)")
    quantized = quantize(model, [images(4)], scheme).model
    types = {item.name: item.data_type for item in quantized.graph.initializer}
    zero = {helper.np_dtype_to_tensor_dtype(np.dtype(scheme.activation))}
    assert {types[node.input[2]] for node in quantized.graph.node if node.op_type == "QuantizeLinear"} == zero
    assert ("b" in types) == (scheme is not CPU)
    assert (onnx.TensorProto.INT32 in types.values()) == (scheme is CPU)
    if scheme is PORTABLE:
        assert all(point == 0 for _, point in scales(quantized).values())


def test_int8_arithmetic_equals_a_reference_in_integers():
    """One convolution, computed here with integers only, against ONNX Runtime's int8 kernel."""
    model = model_of("c = Conv(x, w) y = Conv(c, w)")
    batch = images(2)
    quantized = quantize(model, [batch], CPU, "minmax").model
    values = {item.name: onnx.numpy_helper.to_array(item) for item in quantized.graph.initializer}
    x_scale, x_zero = values["x_scale"], values["x_zero"].astype(np.int32)
    c_scale, c_zero = values["c_scale"], values["c_zero"].astype(np.int32)
    weight = values["Conv/weight_quantized"][:, :, 0, 0].astype(np.int32)
    x = np.clip(np.rint(batch / x_scale) + x_zero, 0, 255).astype(np.int32) - x_zero
    sums = np.einsum("oi,nihw->nohw", weight, x)
    rescaled = sums * (x_scale * values["Conv/weight_scale"] / c_scale)[:, None, None]
    expected = (np.clip(np.rint(rescaled) + c_zero, 0, 255) - c_zero) * c_scale
    quantized.graph.output.append(onnx.helper.make_empty_tensor_value_info("c_dequantized"))
    got = open_session(quantized.SerializeToString()).run(["c_dequantized"], {"x": batch})[0]
    assert np.abs(got - expected).max() <= 1.001 * c_scale
    assert np.mean(got != expected.astype(np.float32)) < 0.01


def test_macs_are_counted_per_image():
    assert macs_by_node(model_of("c = Conv(x, w) y = Relu(c)")) == {"Conv": 4 * 4 * 64}


def test_a_matmul_has_one_scale_per_output_column():
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[n, 5, 6] x) => (float[n, 5, 4] y) { y = MatMul(x, w) }
    """
    model = parser.parse_model(text)
    model.graph.node[0].name = "m"
    weight = (RNG.normal(size=(6, 4)) * np.array([1, 10, 100, 1000])).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    batch = RNG.normal(size=(8, 5, 6)).astype(np.float32)
    quantized = quantize(model, [batch], PORTABLE, "minmax").model
    values = {item.name: onnx.numpy_helper.to_array(item) for item in quantized.graph.initializer}
    np.testing.assert_allclose(values["m/weight_scale"], np.abs(weight).max(axis=0) / 127, rtol=1e-6)
    output = open_session(quantized.SerializeToString()).run(None, {"x": batch})[0]
    assert np.sum((batch @ weight - output) ** 2) < 1e-3 * np.sum(output**2)


def test_a_matmul_with_a_matrix_for_each_image_stays_float():
    text = """
    <ir_version: 8, opset_import: ["" : 18]>
    g (float[2, 5, 6] x) => (float[2, 5, 4] y) { m = MatMul(x, w) y = MatMul(m, v) }
    """
    model = parser.parse_model(text)
    for node, name, shape in zip(model.graph.node, "wv", ((2, 6, 6), (6, 4)), strict=True):
        node.name = name
        weight = RNG.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    placement = place(Graph(model), PORTABLE)
    assert [node.name for node in placement.compute] == ["v"]
    assert placement.float_nodes == {"w": "its weights are more than one matrix"}


def test_the_methods_that_an_export_knows_are_those_there_are():
    assert set(RANGE_METHODS) == set(METHODS)


@pytest.mark.parametrize("name", [name for name, golden in GOLDEN.items() if golden.runs])
def test_tensorrt_builds_the_portable_graph(name, tmp_path):
    quantized = quantize(model_of(GOLDEN[name].nodes), [images(2)], PORTABLE, "minmax").model
    path = tmp_path / "golden.onnx"
    path.write_bytes(quantized.SerializeToString())
    assert build(path)


RESIDUAL = "c = Conv(x, w) r = Relu(c) d = Conv(r, w) s = Add(d, r) m = Relu(s) y = Conv(m, w)"


@pytest.mark.parametrize(
    ("node", "portable", "cpu"),
    [
        # The input of the excluded convolution is quantized only where another node wants it.
        ("Conv", {"r", "m"}, {"r", "d", "m"}),
        ("Conv2", {"x", "d", "m", "r"}, {"x", "r", "d", "m"}),
        # Then the sum is of no use in int8 either.
        ("Conv3", {"x", "r"}, {"x", "r", "d"}),
        ("Add", {"x", "r", "m"}, {"x", "r", "d", "m"}),
    ],
)
def test_an_excluded_node_and_its_neighbours(node, portable, cpu):
    graph = Graph(model_of(RESIDUAL))
    for scheme, tensors in ((PORTABLE, portable), (CPU, cpu)):
        placement = place(graph, scheme, {node: "it is sensitive"})
        assert set(placement.tensors) == tensors
        assert node not in [item.name for item in placement.compute]
        expected = {node: "it is sensitive"}
        if node == "Conv3":
            expected["Add"] = "no int8 after it: Add"
        assert placement.float_nodes == expected


def test_what_an_excluded_move_reads_is_float():
    graph = Graph(model_of(GOLDEN["two moves in a row"].nodes))
    placement = place(graph, PORTABLE, {"MaxPool2": "it is excluded"})
    assert (placement.tensors, placement.shares) == (["x", "m"], {})
    assert placement.float_nodes == {"MaxPool2": "it is excluded"}


def test_an_excluded_part_takes_its_whole_activation_along():
    placement = place(Graph(model_of(GOLDEN["SiLU"].nodes)), PORTABLE, {"Sigmoid": "it is excluded"})
    assert placement.float_nodes == {"Sigmoid": "it is excluded", "Mul": "it is excluded"}


def test_the_range_of_a_group_spans_those_of_its_members():
    placement = place(Graph(model_of(GOLDEN["concat of what a pooling moved"].nodes)), CPU)
    assert placement.observed == ["x", "r", "d"]
    ranges = placement.ranges({"x": (-1.0, 1.0), "r": (0.0, 5.0), "d": (-2.0, 3.0)})
    assert ranges == {"x": (-1.0, 1.0), **dict.fromkeys(("r", "p", "d", "m"), (-2.0, 5.0))}


@each_scheme
def test_every_node_of_a_concatenation_has_one_scale(scheme):
    quantized = quantize(model_of(GOLDEN["concat of concat"].nodes), [images(4)], scheme).model
    found = scales(quantized)
    assert len({found[name] for name in ("r", "a2", "k", "a3", "m")}) == 1 != found["x"]


def test_macs_of_a_transposed_convolution():
    # 4 x 8 x 8 inputs, each times 3 filters of 2 x 2; then 4 outputs of 3 values at 16 x 16.
    assert macs_by_node(model_of(GOLDEN["transposed convolution"].nodes)) == {
        "ConvTranspose": 4 * 64 * 12,
        "Conv": 12 * 256,
    }
