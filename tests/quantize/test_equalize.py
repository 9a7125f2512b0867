"""Cross-layer equalization: the function stays, the channels even out."""

import numpy as np
import pytest
from rewrites import assert_same_function, channels_of, constant, graph_of, images, run

from edgecnn.errors import DataError
from edgecnn.quantize.repair.equalize import LARGEST, equalize, statistics
from edgecnn.quantize.repair.intervals import bound

#: Six channels whose sizes differ by up to 256.
SPREAD = (2.0 ** np.array([-4, -2, 0, 1, 3, 4])).astype(np.float32)


def spread(*shape: int, seed: int = 5) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(6, *shape)).astype(np.float32)
    return drawn * SPREAD.reshape(-1, *[1] * len(shape))


CONSTANTS = {
    "w": spread(4, 3, 3),
    "w2": spread(6, 1, 1, seed=6),
    "b": spread(),
    "d": (6, 1, 3, 3),
    "v": (5, 6, 1, 1),
    "v3": (5, 6, 3, 3),
    "grouped": (4, 3, 1, 1),
    "wide": (6, 6, 1, 1),
    "e": (5,),
    "m": (6, 5),
    "mt": (5, 6),
    "slopes": np.linspace(-0.5, 0.5, 6, dtype=np.float32).reshape(6, 1, 1),
    "twice": np.array([1, 1, 2, 2], np.float32),
    "frame": np.array([0, 0, 1, 2, 0, 0, 1, 0], np.int64),
    "flat": np.array([0, -1], np.int64),
    "hw": np.array([2, 3], np.int64),
    "zero": np.float32(0),
    "six": np.float32(6),
    "thousands": np.float32(1e5),
}
FIRST = "c = Conv<pads=[1,1,1,1]>(x, w, b)"
LAST = "y = Conv(t, v, e)"
PASSING = {
    "nothing": f"{FIRST} y = Conv<pads=[1,1,1,1]>(c, v3, e)",
    "no bias": f"c = Conv(x, w) {LAST.replace('t,', 'c,')}",
    "Relu": f"{FIRST} t = Relu(c) {LAST}",
    "LeakyRelu": f"{FIRST} t = LeakyRelu<alpha=0.2>(c) {LAST}",
    "PRelu": f"{FIRST} t = PRelu(c, slopes) {LAST}",
    "MaxPool": f"{FIRST} t = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(c) {LAST}",
    "AveragePool": f"{FIRST} "
    f"t = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(c) {LAST}",
    "Resize": f'{FIRST} t = Resize<mode="nearest">(c, , twice) {LAST}',
    "Add": f"{FIRST} a = Conv<pads=[1,1,1,1]>(x, w) t = Add(c, a) {LAST}",
    "Pad": f"{FIRST} t = Pad(c, frame) {LAST}",
    "Identity": f"{FIRST} t = Identity(c) {LAST}",
    "Flatten and Gemm": f"{FIRST} p = GlobalAveragePool(c) t = Flatten(p) "
    "y = Gemm<alpha=0.5, beta=2.0>(t, m, e)",
    "Reshape": f"{FIRST} p = GlobalMaxPool(c) t = Reshape(p, flat) y = Gemm<transB=1>(t, mt, e)",
    "ReduceMean": f"{FIRST} t = ReduceMean<keepdims=0>(c, hw) y = Gemm(t, m)",
    "Squeeze": f"{FIRST} p = GlobalAveragePool(c) t = Squeeze(p, hw) y = Gemm(t, m)",
    "Gemm between": f"{FIRST} r = Relu(c) p = GlobalAveragePool(r) t = Flatten(p) h = Gemm(t, m, e) "
    "k = Relu(h) y = Gemm(k, mt)",
    "grouped reader": f"{FIRST} t = Relu(c) y = Conv<group=2>(t, grouped)",
    "depthwise": f"{FIRST} r = Relu(c) k = Conv<group=6, pads=[1,1,1,1]>(r, d, b) t = Relu(k) {LAST}",
    "two readers": f"{FIRST} t = Relu(c) f = Conv(t, v) g = Conv(t, v, e) y = Add(f, g)",
    "residual": f"{FIRST} h = Conv(c, wide) r = Relu(h) k = Conv(r, w2) a = Add(c, k) h2 = Conv(a, wide) "
    f"r2 = Relu(h2) k2 = Conv(r2, w2, b) t = Add(a, k2) {LAST}",
    "a clip out of reach": "l = Tanh(x) c = Conv(l, w, b) t = Clip(c, zero, thousands) " + LAST,
}  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_the_function_stays_and_the_channels_even_out(name):
    model = graph_of(PASSING[name], CONSTANTS)
    before = model.SerializeToString()
    wanted = statistics(model)
    equalized = equalize(model, channels_of(model, wanted))
    assert_same_function(model, equalized.model)
    assert model.SerializeToString() == before
    assert "c" in equalized.scales
    tensor = "c" if name == "no bias" or "c" in wanted else wanted[0]
    assert unevenness(equalized.model, tensor) < 0.5 * unevenness(model, tensor)


def unevenness(model, tensor) -> float:
    """Largest extent of a channel in units of the geometric mean."""
    seen = channels_of(model, [tensor])[tensor]
    extents = np.maximum(-seen.minimum, seen.maximum)
    return float(extents.max() / np.exp(np.log(extents).mean()))


def test_a_residual_stage_is_one_group():
    model = graph_of(PASSING["residual"], CONSTANTS)
    assert {"c", "a", "t"} <= set(statistics(model))
    assert "a" not in equalize(model, channels_of(model, statistics(model))).scales


@pytest.mark.parametrize(
    "nodes",
    [
        f"{FIRST} t = Sigmoid(c) {LAST}",
        f"{FIRST} s = Sigmoid(c) t = Mul(c, s) {LAST}",
        f"{FIRST} t = Add(c, b1) {LAST}",
        f"{FIRST} t = Clip(c, one, six) {LAST}",
        f'{FIRST} t = Resize<mode="linear">(c, , twice) {LAST}',
        f"{FIRST} t = Pad(c, frame, one) {LAST}",
        f"{FIRST} k = Conv(x, w1) t = Add(c, k) {LAST}",
        f"{FIRST} t = Transpose<perm=[0,1,3,2]>(c) {LAST}",
        "y = Conv(x, w, b)",
        f"{FIRST} t = Relu(c) u = Conv(t, v) y = Flatten(t)",
    ],
)
def test_other_groups_are_left_alone(nodes):
    constants = {
        **CONSTANTS, "b1": (6, 1, 1), "one": np.float32(1), "w1": (1, 4, 1, 1)
    }  # fmt: skip
    nodes = nodes.replace("Conv(x, w1)", "Conv<pads=[0,0,0,0]>(x, w1)")
    model = graph_of(nodes, constants)
    assert statistics(model) == []
    assert equalize(model, {}).model.SerializeToString() == model.SerializeToString()


def test_only_channels_that_provably_stay_below_a_clip_are_scaled():
    weights = np.zeros((6, 4, 1, 1), np.float32)
    weights[:, 0, 0, 0] = [0.1, 1, 3, 5.9, 6.5, 20]
    nodes = f"l = Sigmoid(x) c = Conv(l, w) t = Clip(c, zero, six) {LAST}"
    model = graph_of(nodes, {**CONSTANTS, "w": weights, "v": np.ones((5, 6, 1, 1), np.float32)})
    high = bound(model)["c"].high
    np.testing.assert_allclose(high, weights[:, 0, 0, 0], rtol=1e-4)
    equalized = equalize(model, channels_of(model, statistics(model)), least_gain=0.0)
    scales = equalized.scales["c"]
    assert (scales[4:] == 1).all() and (scales[:3] > 1).all()
    assert (scales * high)[:4].max() <= 6
    assert_same_function(model, equalized.model)


def test_what_pixels_can_be_proves_more():
    weights = np.abs(spread(4, 1, 1)) / 32
    nodes = f"c = Conv(x, w) t = Clip(c, zero, six) {LAST}"
    model = graph_of(nodes, {**CONSTANTS, "w": weights})
    seen = channels_of(model, statistics(model))
    assert not equalize(model, seen).scales
    equalized = equalize(model, seen, {"x": (-1, 1)})
    assert (equalized.scales["c"] != 1).any()
    batch = np.clip(images(16, 5.0), -1, 1)
    np.testing.assert_allclose(run(equalized.model, batch), run(model, batch), rtol=1e-4, atol=1e-5)


def test_dead_channels_keep_one_and_factors_stay_within_bounds():
    weights = spread(4, 1, 1)
    weights[0], weights[5] = weights[0] * 2**-20, weights[5] * 2**20
    weights[2] = 0
    model = graph_of(f"c = Conv(x, w) t = Relu(c) {LAST}", {**CONSTANTS, "w": weights})
    scales = equalize(model, channels_of(model, statistics(model))).scales["c"]
    assert scales[2] == 1
    assert scales.max() <= LARGEST and scales.min() >= 1 / LARGEST


def test_a_constant_that_others_read_too_is_copied():
    nodes = f"{FIRST} t = Relu(c) f = Conv(t, v, e) o = Conv<pads=[1,1,1,1]>(x, w, b) s = Sigmoid(o) "
    nodes += "g = Conv(s, v, e) y = Add(f, g)"
    model = graph_of(nodes, CONSTANTS)
    equalized = equalize(model, channels_of(model, statistics(model)))
    assert equalized.scales
    assert_same_function(model, equalized.model)
    np.testing.assert_array_equal(constant(equalized.model, "w"), CONSTANTS["w"])


def test_missing_statistics_are_an_error():
    model = graph_of(PASSING["Relu"], CONSTANTS)
    with pytest.raises(DataError, match="'t'"):
        equalize(model, {})


@pytest.mark.parametrize("name", PASSING)
def test_no_image_leaves_its_interval(name):
    """A sigmoid before makes the network's input bounded, so that all bounds are finite."""
    nodes = PASSING[name].replace("(x,", "(z,")
    model = graph_of(f"z = Tanh(x) {nodes}", CONSTANTS)
    found = bound(model)
    tensors = [node.output[0] for node in model.graph.node]
    seen = channels_of(model, tensors)
    for tensor in tensors:
        assert (seen[tensor].minimum >= found[tensor].low).all(), tensor
        assert (seen[tensor].maximum <= found[tensor].high).all(), tensor
