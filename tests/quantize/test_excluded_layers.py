"""Layers that mixed precision leaves float are float in ONNX Runtime, too."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_graphs import model_of
from tensorrt_build import build

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.placement.remove_qdq import strip
from edgecnn.quantize.ranges import calibrate, range_methods
from edgecnn.runtime.ort_engine import open_session
from edgecnn.schemes import CPU, PORTABLE

RNG = np.random.default_rng(0)
SCHEMES = pytest.mark.parametrize("scheme", [PORTABLE, CPU], ids=lambda scheme: scheme.name)
_SECOND = "f = Conv(r, w) g = Relu(f) h = Add(e, g) y = Conv(h, w, b)"
#: What is read by an integer layer, too, and what becomes of the output: nothing, Relu or Clip before Q.
GRAPHS = {
    "Conv": ("Conv2", f"c = Conv(x, w, b) r = Relu(c) e = Conv(r, w, b) {_SECOND}"),
    "no bias": ("Conv2", f"c = Conv(x, w, b) r = Relu(c) e = Conv(r, w) {_SECOND}"),
    "Relu": ("Conv2", f"c = Conv(x, w, b) r = Relu(c) d = Conv(r, w, b) e = Relu(d) {_SECOND}"),
    "Clip": ("Conv2", f"c = Conv(x, w, b) r = Relu(c) d = Conv(r, w, b) e = Clip(d, zero, six) {_SECOND}"),
    "first": ("Conv", f"d = Conv(x, w, b) e = Relu(d) c = Conv(x, w, b) r = Relu(c) {_SECOND}"),
    "HardSwish": ("Conv2", f"c = Conv(x, w, b) r = Relu(c) d = Conv(r, w, b) e = HardSwish(d) {_SECOND}"),
    "grouped ConvTranspose": (
        "ConvTranspose",
        "c = Conv(x, w) r = Relu(c) t = ConvTranspose <group = 2, kernel_shape = [2, 2]> (r, up2)"
        " m = Conv(r, w) n = Relu(m) k = MaxPool <kernel_shape = [2, 2]> (n) u = Conv(t, w)"
        " j = Conv(k, w) i = GlobalAveragePool(u) p = GlobalAveragePool(j) z = Add(i, p) y = Conv(z, w)",
    ),
    "Gemm": (
        "Gemm",
        "g = GlobalAveragePool(x) f = Flatten(g) d = Gemm <transB = 1> (f, v, b) e = Relu(d)"
        " o = Gemm <transB = 1> (f, v) p = Relu(o) h = Add(e, p) y = Gemm <transB = 1> (h, v, b)",
    ),
}


def quantized(name, scheme, batch):
    node, text = GRAPHS[name]
    model = model_of(text)
    placement = place(Graph(model), scheme, {node: "it is sensitive"})
    observers = calibrate.observe(model, placement.observed, [batch])
    found = {
        tensor: range_methods.choose(observer, "minmax", symmetric=scheme.symmetric, levels=scheme.levels)
        for tensor, observer in observers.items()
    }
    return model, write_qdq.insert(model, placement, placement.ranges(found), scheme)


def optimised(model, path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


@SCHEMES
@pytest.mark.parametrize("name", GRAPHS)
def test_an_excluded_layer_keeps_its_float_weights(name, scheme, tmp_path):
    """The weights themselves are found, as they are, in the graph that ONNX Runtime runs."""
    batch = RNG.normal(size=(4, 4, 8, 8)).astype(np.float32)
    model, made = quantized(name, scheme, batch)
    onnx.checker.check_model(made, full_check=True)
    node = next(item for item in model.graph.node if item.name == GRAPHS[name][0])
    weight = Graph(model).constant(node.input[1])
    values = [
        numpy_helper.to_array(item)
        for item in optimised(made, tmp_path / "optimised.onnx").graph.initializer
        if item.data_type == onnx.TensorProto.FLOAT
    ]
    # A blocked layout pads the channels, and so holds the same values and zeros.
    wanted = np.sort(weight[weight != 0].ravel())
    assert any(np.array_equal(np.sort(value[value != 0].ravel()), wanted) for value in values)


@pytest.mark.parametrize("name", ["Relu", "Gemm"])
def test_its_neighbours_still_run_in_integers(name, tmp_path):
    batch = RNG.normal(size=(4, 4, 8, 8)).astype(np.float32)
    made = optimised(quantized(name, CPU, batch)[1], tmp_path / "optimised.onnx")
    ops = [node.op_type for node in made.graph.node]
    # In the graph of Gemms it is the pooling before the excluded one, and the Gemm beside it.
    assert ops.count("QLinearConv") + ops.count("QGemm") + ops.count("QLinearGlobalAveragePool") >= 2


@SCHEMES
@pytest.mark.parametrize("name", GRAPHS)
def test_it_computes_what_the_float_layer_would(name, scheme):
    batch = RNG.normal(size=(4, 4, 8, 8)).astype(np.float32)
    model, made = quantized(name, scheme, batch)
    reference, output = (
        open_session(item.SerializeToString()).run(None, {"x": batch})[0] for item in (model, made)
    )
    assert np.sum((reference - output) ** 2) < 1e-2 * np.sum(reference**2)


@SCHEMES
@pytest.mark.parametrize("name", GRAPHS)
def test_it_comes_back_when_the_file_is_taken_apart(name, scheme):
    model, made = quantized(name, scheme, RNG.normal(size=(4, 4, 8, 8)).astype(np.float32))
    parts = strip(made)
    assert GRAPHS[name][0] not in parts.weights
    for ours, theirs in zip(parts.model.graph.node, model.graph.node, strict=True):
        assert (ours.name, ours.input[0], ours.output) == (theirs.name, theirs.input[0], theirs.output)


@pytest.mark.parametrize("name", GRAPHS)
def test_tensorrt_builds_it(name, tmp_path):
    path = tmp_path / "excluded.onnx"
    made = quantized(name, PORTABLE, RNG.normal(size=(4, 4, 8, 8)).astype(np.float32))[1]
    path.write_bytes(made.SerializeToString())
    assert build(path)
