"""Absorption of offsets: the function stays for any input, the ranges become narrower."""

import numpy as np
import onnx
import pytest
from rewrites import assert_same_function, channels_of, constant, graph_of, images
from tensorrt_build import build

from edgecnn.errors import DataError
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.quantizer import quantize
from edgecnn.quantize.repair.absorb import absorb, statistics
from edgecnn.schemes import CPU, PORTABLE

CONSTANTS = {
    "w": (6, 4, 3, 3),
    "b": np.array([-40, -20, 0, 10, 30, 50], np.float32),
    "positive": np.array([0, 1, 2, 3, 4, 5], np.float32),
    "d": (6, 1, 3, 3),
    "v": (5, 6, 1, 1),
    "v3": (5, 6, 3, 3),
    "grouped": (4, 3, 1, 1),
    "back": (6, 5, 1, 1),
    "e": (5,),
    "m": (6, 5),
    "mt": (5, 6),
    "twice": np.array([1, 1, 2, 2], np.float32),
    "frame": np.array([0, 0, 1, 2, 0, 0, 1, 0], np.int64),
    "zero": np.float32(0),
    "six": np.float32(6),
}
FIRST = "c = Conv<pads=[1,1,1,1]>(x, w, b)"
LAST = "y = Conv(t, v, e)"
LINEAR = {
    "nothing": f"{FIRST} y = Conv(c, v, e)",
    "no bias after it": f"{FIRST} y = Conv(c, v)",
    "wide kernel": f"{FIRST} y = Conv<strides=[2,2]>(c, v3)",
    "grouped reader": f"{FIRST} y = Conv<group=2>(c, grouped)",
    "depthwise reader": f"{FIRST} y = Conv<group=6>(c, d)",
    "MaxPool": f"{FIRST} t = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(c) {LAST}",
    "AveragePool": f"{FIRST} t = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(c) {LAST}",
    "Resize": f'{FIRST} t = Resize<mode="nearest">(c, , twice) {LAST}',
    "Identity": f"{FIRST} t = Identity(c) {LAST}",
    "Flatten": f"{FIRST} p = GlobalAveragePool(c) t = Flatten(p) y = Gemm<alpha=0.5, beta=2.0>(t, m, e)",
    "Gemm without bias": f"{FIRST} p = GlobalMaxPool(c) t = Flatten(p) y = Gemm<beta=0.5, transB=1>(t, mt)",
    "doubled": f"{FIRST} t = Add(c, c) {LAST}",
    "residual": f"{FIRST} h = Conv(c, v, e) r = Sigmoid(h) k = Conv(r, back) a = Add(c, k) "
    f"h2 = Conv(a, v) r2 = Sigmoid(h2) k2 = Conv(r2, back, b) t = Add(a, k2) {LAST}",
}
CLIPPED = {
    "Clip": f"{FIRST} t = Clip(c, zero, six) {LAST}",
    "Clip and pool": f"{FIRST} q = Clip(c, zero, six) p = GlobalAveragePool(q) t = Flatten(p) y = Gemm(t, m)",
    "Clip without bias": f"c = Conv(x, w) t = Clip(c, zero, six) {LAST}",
    "sum of clips": f"{FIRST} q = Clip(c, zero, six) k = Conv<pads=[1,1,1,1]>(x, w) r = Clip(k, zero, six) "
    f"t = Add(q, r) {LAST}",
    "shared bounds": f"{FIRST} q = Clip(c, zero, six) k = Conv<pads=[1,1,1,1], group=6>(q, d) "
    f"t = Clip(k, zero, six) {LAST}",
}


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("name", LINEAR)
def test_linear_channels_are_centred_and_the_function_stays(name, symmetric):
    model = graph_of(LINEAR[name], CONSTANTS)
    before = model.SerializeToString()
    absorbed = absorb(model, channels_of(model, statistics(model, symmetric=symmetric)), symmetric=symmetric)
    assert_same_function(model, absorbed.model)
    assert model.SerializeToString() == before
    seen = channels_of(absorbed.model, ["c"])["c"]
    np.testing.assert_allclose(seen.minimum, -seen.maximum, atol=1e-3)


@pytest.mark.parametrize("name", CLIPPED)
def test_a_clipped_tensor_is_centred_for_symmetric_codes_alone(name):
    model = graph_of(CLIPPED[name], CONSTANTS)
    tensors = statistics(model, symmetric=True)
    absorbed = absorb(model, channels_of(model, tensors), symmetric=True)
    assert_same_function(model, absorbed.model)
    assert tensors and set(tensors) <= set(absorbed.offsets)
    first = next(tensor for tensor in tensors)
    seen = channels_of(absorbed.model, [first])[first]
    assert seen.minimum.min() == pytest.approx(-seen.maximum.max(), rel=1e-3)
    assert statistics(model, symmetric=False) == []


def test_bounds_that_another_clip_reads_stay():
    model = graph_of(CLIPPED["shared bounds"], CONSTANTS)
    absorbed = absorb(model, channels_of(model, statistics(model, symmetric=True)), symmetric=True)
    clips = [node for node in absorbed.model.graph.node if node.op_type == "Clip"]
    assert [float(constant(absorbed.model, name)) for name in clips[0].input[1:]] == [0, 6]
    assert [float(constant(absorbed.model, name)) for name in clips[1].input[1:]] == [-3, 3]


@pytest.mark.parametrize(
    "nodes",
    [
        f"{FIRST} y = Conv<pads=[1,1,1,1]>(c, v3, e)",
        f'{FIRST} y = Conv<auto_pad="SAME_UPPER">(c, v3, e)',
        f"{FIRST} t = Pad(c, frame) {LAST}",
        f"{FIRST} t = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(c) {LAST}",
        f"{FIRST} t = LeakyRelu(c) {LAST}",
        f"{FIRST} t = Relu(c) {LAST}",
        f"{FIRST} t = Relu(c) y = Conv<pads=[1,1,1,1]>(t, v3)",
        f"{FIRST} t = Relu(c) u = Conv(t, v) s = Sigmoid(c) y = Conv(s, v)",
        "y = Conv(x, w, b)",
    ],
)
def test_what_zeros_or_bends_is_left_alone(nodes):
    model = graph_of(nodes, CONSTANTS)
    assert statistics(model, symmetric=True) == []
    assert absorb(model, {}, symmetric=True).model.SerializeToString() == model.SerializeToString()


def test_nothing_is_moved_where_nothing_is_won():
    model = graph_of("c = Conv<pads=[1,1,1,1]>(x, w) r = Tanh(c) k = Conv(r, back2) y = Conv(k, v)", {
        **CONSTANTS, "back2": (6, 6, 1, 1)
    })  # fmt: skip
    tensors = statistics(model, symmetric=True)
    seen = channels_of(model, tensors)
    for observer in seen.values():
        observer.maximum = np.maximum(observer.maximum, -observer.minimum)
        observer.minimum = -observer.maximum
    assert tensors and not absorb(model, seen, symmetric=True).offsets


def test_missing_statistics_are_an_error():
    with pytest.raises(DataError, match="'c'"):
        absorb(graph_of(LINEAR["nothing"], CONSTANTS), {}, symmetric=True)


@pytest.mark.parametrize("name", ["Clip", "Clip and pool"])
def test_placement_still_fuses_the_clip_and_tensorrt_builds_it(name, tmp_path):
    model = graph_of(CLIPPED[name], CONSTANTS)
    seen = channels_of(model, statistics(model, symmetric=True))
    moved = absorb(model, seen, symmetric=True).model
    before, after = place(Graph(model), PORTABLE), place(Graph(moved), PORTABLE)
    assert before.tensors == after.tensors and before.float_nodes == after.float_nodes
    path = tmp_path / "model.onnx"
    onnx.save(quantize(moved, [images()], PORTABLE).model, path)
    assert build(path) > 0


def test_a_symmetric_range_of_a_clip_takes_half_the_step():
    model = graph_of(CLIPPED["Clip"], CONSTANTS)
    moved = absorb(model, channels_of(model, statistics(model, symmetric=True)), symmetric=True).model
    low, high = quantize(moved, [images()], PORTABLE, "minmax").ranges["t"]["portable"]
    assert (low, high) == pytest.approx((-3, 3))
    assert quantize(model, [images()], CPU, "minmax").ranges["t"]["cpu"] == pytest.approx((0, 6))
