"""Small graphs whose values leave float16's range, or that say float32 in an attribute."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper, parser
from onnx.reference import ReferenceEvaluator
from tensorrt_build import build

from edgecnn.errors import ArtifactError, DataError
from edgecnn.quantize.float16.convert import extremes, to_float16
from edgecnn.runtime.ort_engine import open_session
from edgecnn.tasks.compare import compare

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 3, 16, 16)).astype(np.float32)


def graph(nodes: str, opset: int = 18, declared: str = "", **constants: np.ndarray) -> onnx.ModelProto:
    outputs = declared or "float[n, k] y"
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[n, 3, 16, 16] input) => ({outputs})'
    model = parser.parse_model(f"{head} {{ {nodes} }}")
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return model


def weights(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (RNG.normal(size=shape) * scale / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def run(model: onnx.ModelProto) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    return open_session(model.SerializeToString()).run(None, {"input": IMAGES})[0]


def run_half(model: onnx.ModelProto) -> np.ndarray:
    """Round after every node, as the graph says: ONNX Runtime's CPU computes chains of nodes in float32."""
    onnx.checker.check_model(model, full_check=True)
    assert open_session(model.SerializeToString()).run(None, {"input": IMAGES})
    with np.errstate(over="ignore", invalid="ignore"):
        return ReferenceEvaluator(model).run(None, {"input": IMAGES})[0]


def loud(scale: float) -> onnx.ModelProto:
    """Three convolutions; the second is `scale` times too loud, which the third takes back."""
    return graph(
        "c = Conv <pads=[1, 1, 1, 1]> (input, w1, b1) r = Relu(c)"
        "d = Conv <pads=[1, 1, 1, 1]> (r, w2, b2) s = Relu(d)"
        "e = Conv <pads=[1, 1, 1, 1]> (s, w3, b1) t = Relu(e)"
        "p = GlobalAveragePool(t) f = Flatten(p) y = Gemm <transB=1> (f, w4)",
        w1=weights(8, 3, 3, 3), b1=weights(8),
        w2=weights(8, 8, 3, 3, scale=scale), b2=weights(8, scale=scale),
        w3=weights(8, 8, 3, 3, scale=1 / scale), w4=weights(5, 8),
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1e6, 3e5])
def test_a_layer_that_overflows_stays_in_float32_and_is_named(scale):
    model = loud(scale)
    result = to_float16(model, extremes(model, [IMAGES]))
    assert {"Conv_2", "Relu_3", "Conv_4"} == set(result.kept)
    assert "d reaches" in result.kept["Conv_2"] or "weight" in result.kept["Conv_2"]
    assert compare(run(model), run_half(result.model), "float16").sqnr_db > 40
    halves = {item.name for item in result.model.graph.initializer if item.data_type == TensorProto.FLOAT16}
    assert halves == {"w1", "b1_half", "w4"}, "a bias that both precisions read is there twice"


def test_an_overflow_that_only_real_images_show():
    up, down = weights(3, 3, 1, 1, scale=300), weights(3, 3, 1, 1, scale=1 / 300)
    nodes = "c = Conv(input, up) d = Conv(c, up) e = Conv(d, down) f = Conv(e, down) y = Flatten(f)"
    model = graph(nodes, up=up, down=down)
    blind = to_float16(model)
    assert blind.kept == {} and not np.all(np.isfinite(run_half(blind.model)))
    measured = to_float16(model, extremes(model, [IMAGES]))
    assert {"Conv_1", "Conv_2"} <= set(measured.kept) and "d reaches" in measured.kept["Conv_1"]
    assert compare(run(model), run_half(measured.model), "float16").sqnr_db > 40


def test_a_network_of_ordinary_size_keeps_nothing():
    model = loud(1.0)
    result = to_float16(model, extremes(model, [IMAGES]))
    assert result.kept == {} and result.notes() == []
    assert {item.data_type for item in result.model.graph.initializer} == {TensorProto.FLOAT16}
    casts = [node for node in result.model.graph.node if node.op_type == "Cast"]
    assert [node.input[0] for node in casts] == ["input", "y_half"]
    assert compare(run(model), run_half(result.model), "float16").sqnr_db > 50


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_tensorrt_rtx_builds_both(tmp_path, scale):
    model = loud(scale)
    path = tmp_path / "m.onnx"
    path.write_bytes(to_float16(model, extremes(model, [IMAGES])).model.SerializeToString())
    assert build(path) > 0


GRAPHS = {
    "clipping bounds beyond the range": "c = Conv(input, w) d = Clip(c, low, high) y = Flatten(d)",
    "scales of a resize stay float32": (
        "c = Conv(input, w) d = Resize <mode='linear'> (c, , scales) y = Flatten(d)"
    ),
    "a cast to float32 becomes one to float16": (
        "c = Conv(input, w) i = Cast <to=6> (c) d = Cast <to=1> (i) e = Add(c, d) y = Flatten(e)"
    ),
    "a constant made by a node": (
        "c = Conv(input, w) k = ConstantOfShape <value: tensor = float[1] {0.5}> (one)"
        " d = Add(c, k) y = Flatten(d)"
    ),
    "the shape of a tensor": "c = Conv(input, w) s = Shape(c) d = Relu(c) e = Reshape(d, s) y = Flatten(e)",
    "the input is read twice": "c = Conv(input, w) d = Concat <axis=1> (c, input) y = Flatten(d)",
    "the input's mean": "m = ReduceMean(input, axes) c = Conv(input, w) d = Add(c, m) y = Flatten(d)",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_each_graph_is_valid_and_near_its_float32_form(name):
    nodes = GRAPHS[name].replace("'", '"')
    known = {
        "w": weights(3, 3, 1, 1), "low": np.float32(-np.inf), "high": np.float32(3e38),
        "scales": np.array([1, 1, 2, 2], np.float32), "one": np.array([1], np.int64),
        "axes": np.array([2, 3], np.int64),
    }  # fmt: skip
    used = {
        key: np.asarray(value) for key, value in known.items() if f"{key})" in nodes or f" {key}," in nodes
    }
    model = graph(nodes, **used)
    result = to_float16(model, extremes(model, [IMAGES]))
    assert result.kept == {}
    sqnr = 20 if "cast" in name else 55  # a float16 just below an integer is cut to another one
    assert compare(run(model), run_half(result.model), name).sqnr_db > sqnr


def test_several_outputs_keep_their_names_and_types():
    model = graph(
        "c = Conv(input, w) r = Relu(c) y = Flatten(r) s = Shape(r)",
        declared="float[n, 3, 16, 16] r, float[n, k] y, int64[4] s", w=weights(3, 3, 1, 1),
    )  # fmt: skip
    result = to_float16(model, extremes(model, [IMAGES])).model
    onnx.checker.check_model(result, full_check=True)
    for before, after in zip(
        *(open_session(item.SerializeToString()).run(None, {"input": IMAGES}) for item in (model, result)),
        strict=True,
    ):
        assert before.dtype == after.dtype
        np.testing.assert_allclose(before, after, atol=1e-2)


def test_small_weights_and_small_values_stay_in_float32():
    quiet = graph(
        "c = Conv(input, w) d = Mul(c, tiny) y = Flatten(d)",
        w=weights(3, 3, 1, 1), tiny=np.float32([1e-7]),
    )  # fmt: skip
    kept = to_float16(quiet, extremes(quiet, [IMAGES])).kept
    assert set(kept) == {"Mul_1", "Flatten_2"} and "coarse" in kept["Flatten_2"]
    assert set(to_float16(quiet).kept) == {"Mul_1"}


@pytest.mark.parametrize(("loudness", "kept"), [(1.0, set()), (200.0, {"LRN_0"})])
def test_an_lrn_that_squares_large_numbers_stays_in_float32(loudness, kept):
    model = graph("c = LRN <size=3> (input) d = Conv(c, w) y = Flatten(d)", w=weights(3, 3, 1, 1))
    assert set(to_float16(model, extremes(model, [IMAGES * np.float32(loudness)])).kept) == kept


def test_control_flow_and_no_images_are_refused():
    model = graph("c = Conv(input, w) y = Flatten(c)", w=weights(3, 3, 1, 1))
    with pytest.raises(DataError):
        extremes(model, [])
    branch = parser.parse_graph("b () => (float[n, k] z) { z = Identity(y) }")
    model.graph.node.append(onnx.helper.make_node("If", ["t"], ["u"], then_branch=branch, else_branch=branch))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "t"))
    with pytest.raises(ArtifactError, match="control flow"):
        to_float16(model)
