"""Tensors share a scale only if their ranges are alike."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_graphs import CONSTANTS, model_of
from tensorrt_build import build

from edgecnn.quantize.effort_levels import PLAIN
from edgecnn.quantize.placement.place import FAR_APART, PARTS_APART
from edgecnn.quantize.placement.remove_qdq import to_scheme
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.runtime.ort_engine import open_session
from edgecnn.schemes import CPU, PORTABLE, SCHEMES

each_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
#: From k, of small values, and l, of large ones, to the output.
_TWO = "k = Conv(x, w) l = Conv(x, w2)"
GRAPHS = {
    "the small one is read alone, too": (
        f"{_TWO} m = Concat <axis = 1> (k, l) n = Conv(m, w8) o = Conv(k, w) y = Concat <axis = 1> (n, o)"
    ),
    "split again": (
        f"{_TWO} m = Concat <axis = 1> (k, l) p, q = Split <axis = 1, num_outputs = 2> (m)"
        " n = Conv(p, w) o = Conv(q, w) y = Concat <axis = 1> (n, o)"
    ),
    "moved and sliced": (
        f"{_TWO} j = Concat <axis = 1> (k, l) m = MaxPool <kernel_shape = [2, 2]> (j)"
        " p = Slice(m, zeros, fours, one) q = Slice(m, fours, eights, one)"
        " n = Conv(p, w) o = Conv(q, w) y = Concat <axis = 1> (n, o)"
    ),
    "one convolution is split": (
        "m = Conv(x, both) p, q = Split <axis = 1, num_outputs = 2> (m)"
        " n = Conv(p, w) o = Conv(q, w) y = Concat <axis = 1> (n, o)"
    ),
    "one convolution and its Relu are split": (
        "r = Conv(x, both) m = Relu(r) p, q = Split <axis = 1, num_outputs = 2> (m)"
        " n = Conv(p, w) o = Conv(q, w) y = Concat <axis = 1> (n, o)"
    ),
    "stacked": (
        f"{_TWO} i = Unsqueeze(k, one) j = Unsqueeze(l, one) m = Concat <axis = 1> (i, j)"
        " p, q = Split <axis = 1, num_outputs = 2> (m) r = Squeeze(p, one) s = Squeeze(q, one)"
        " n = Conv(r, w) o = Conv(s, w) y = Concat <axis = 1> (n, o)"
    ),
    "a chain of concatenations": (
        f"{_TWO} h = Conv(x, w) i = Concat <axis = 1> (h, k) m = Concat <axis = 1> (i, l)"
        " n = Conv(m, w12) o = Conv(i, w8) y = Concat <axis = 1> (n, o)"
    ),
}


def far(name: str, factor: float) -> onnx.ModelProto:
    """Return a graph in which some tensors are `factor` times as large as others."""
    model = model_of(GRAPHS[name])
    w = np.asarray(CONSTANTS["w"], np.float32)
    values = {
        "w2": factor * w,
        "both": np.concatenate([w, factor * w]),
        "zeros": np.zeros(1, np.int64),
        "fours": np.full(1, 4),
        "eights": np.full(1, 8),
    }
    kept = [item for item in model.graph.initializer if item.name not in values]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    read = {tensor for node in model.graph.node for tensor in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, key) for key, value in values.items() if key in read
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model)


def quantized(model, scheme, images):
    return Quantizer(model, lambda: [images], scheme, "minmax")(PLAIN)


@pytest.fixture
def images(rng):
    return rng.normal(size=(8, 4, 8, 8)).astype(np.float32)


def decibels_of_parts(model, made, images):
    """Return those of the first four channels, which come from small values, and of the others."""
    known, got = (
        open_session(item.SerializeToString(), optimize=False).run(None, {"x": images})[0]
        for item in (model, made)
    )
    return [
        10 * np.log10(np.sum(known[:, part] ** 2) / np.sum((known[:, part] - got[:, part]) ** 2))
        for part in (slice(4), slice(4, None))
    ]


@each_scheme
@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_far_apart_keeps_its_accuracy(name, scheme, images):
    model = far(name, 300)
    made = quantized(model, scheme, images)
    first, second = decibels_of_parts(model, made.model, images)
    assert second > 25 and (first > 25 or "w8" in GRAPHS[name])
    own = made.to_json().get("own_scales", {})
    rules = {*own.values(), *made.float_nodes.values()}
    assert FAR_APART in rules
    layer = made.float_nodes.get(next(node.name for node in model.graph.node if node.op_type == "Conv"))
    whole = "one convolution" in name and "Conv" in scheme.needs_output
    assert (layer == PARTS_APART) is whole, "int8 where it can give floats"


@each_scheme
@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_alike_shares_a_scale_as_before(name, scheme, images):
    made = quantized(far(name, 4), scheme, images)
    assert made.placement.shares and FAR_APART not in made.float_nodes.values()
    assert not made.placement.own_scales


@each_scheme
def test_what_is_always_zero_takes_any_scale(scheme, images):
    made = quantized(far("the small one is read alone, too", 0), scheme, images)
    assert made.placement.shares and not made.placement.own_scales


@each_scheme
@pytest.mark.parametrize("name", GRAPHS)
def test_another_target_has_the_same_rule(name, scheme, images):
    model = far(name, 300)
    made = quantized(model, scheme, images)
    for goal in SCHEMES:
        direct = quantized(model, goal, images)
        other, placement = to_scheme(made.model, made.to_json(), goal)
        assert set(placement.tensors) == set(direct.placement.tensors)
        assert decibels_of_parts(model, other, images)[1] > 25


@pytest.mark.parametrize("name", GRAPHS)
def test_tensorrt_builds_it(name, images, tmp_path):
    path = tmp_path / "far.onnx"
    path.write_bytes(quantized(far(name, 300), PORTABLE, images).model.SerializeToString())
    assert build(path)


def test_onnx_runtime_still_joins_in_integers(images, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    made = quantized(far("the small one is read alone, too", 300), CPU, images).model
    onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    assert "QLinearConcat" in kinds
