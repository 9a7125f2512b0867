"""Numbers that are not finite: named where they are a defect, kept where a network means them."""

import numpy as np
import pytest
from foreign_graphs import (
    constant,
    convolution,
    decibels,
    drawn,
    head,
    images,
    model_of,
    node,
    run,
    stem,
    written,
)

from edgecnn.errors import ArtifactError, DataError, WeightsError
from edgecnn.finite import first_broken
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.not_finite import infinite_tensors
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.ranges import range_methods
from edgecnn.quantize.ranges.channel_statistics import ChannelObserver
from edgecnn.quantize.ranges.observers import Observer
from edgecnn.schemes import SCHEMES


def with_value(name, place, value):
    model = model_of(stem(), head())
    graph = Graph(model)
    changed = graph.constant(name).copy()
    changed[place] = value
    graph.set_constant(name, changed)
    return model


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named_with_its_place(value):
    model = with_value("c2_w", (3, 1, 0, 2), value)
    with pytest.raises(
        ArtifactError, match=rf"'c2_w' hold 1 of 576 .*\({value}\) at \[3, 1, 0, 2\]"
    ) as caught:
        prepare(model)
    assert "training diverged" in caught.value.hint
    with pytest.raises(ArtifactError, match="'fb' hold"):
        prepare(with_value("fb", 4, np.nan))


def test_the_first_broken_value_of_a_scalar_and_of_none():
    assert first_broken(np.zeros(3)) == ""
    assert "(nan) at [0]" in first_broken(np.float32(np.nan))
    assert first_broken(np.array([1, -np.inf]), infinite=False) == ""


def test_a_checkpoint_is_looked_at_before_anything_is_made_of_it(tmp_path):
    import torch

    from edgecnn.zoo.open_network import open_network
    from edgecnn.zoo.spec import NetworkSpec

    state = open_network(NetworkSpec("lenet5", num_classes=7)).network.state_dict()
    name = list(state)[-1]
    state[name].view(-1)[2] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match=rf"'{name}', 1 of 7 values that are not finite, .* at \[2\]"):
        open_network(NetworkSpec("lenet5", num_classes=7, weights=str(tmp_path / "nan.pth")))


def overflowing():
    """Its weights are finite; what it computes is not."""
    large = with_value("c1_w", slice(None), 3e38)
    return large


def test_of_a_network_that_overflows_the_first_tensor_is_named(tmp_path):
    with pytest.raises(DataError, match="tensor 'a' holds infinite"):
        written(overflowing(), tmp_path)


def switched_off(following):
    """A channel that a bias of -inf switches off, before an activation that makes 0 of it."""
    model = model_of(
        convolution("x", "c1", "a", 3, strides=[2, 2]),
        ([node(following, ["a", *(["zero", "six"] if following == "Clip" else [])], ["r"], name="act")],
         [constant("zero", 0.0), constant("six", 6.0)]),
        convolution("r", "c2", "f"),
        head(),
    )  # fmt: skip
    graph = Graph(model)
    bias = graph.constant("c1_b").copy()
    bias[5] = -np.inf
    graph.set_constant("c1_b", bias)
    return model


@pytest.mark.parametrize(("following", "share"), [("Relu", 1.0), ("Clip", 1.0), ("Sigmoid", None)])
def test_a_bias_that_switches_a_channel_off_may_be_infinite(following, share, tmp_path):
    model = switched_off(following)
    assert np.isfinite(run(model, images())).all()
    made = written(model, tmp_path)
    quantization = made.manifest.quantization
    assert made.parity.sqnr_db > 25 and decibels(run(model, images()), run(made.path, images())) > 20
    if share is None:
        assert quantization["float_nodes"]["c1"] == "its values are not finite"
        assert 0 < quantization["int8_mac_share"] < 1
    else:
        assert quantization["int8_mac_share"] == share
    if following != "Relu":
        assert written(model, tmp_path, precision="float16").parity.sqnr_db > 40


def masked():
    """An attention over 16 x 16 positions that does not look at half of them."""
    mask = np.zeros((1, 256), np.float32)
    mask[0, ::2] = -np.inf
    nodes = [
        node("Reshape", ["f", "s1"], ["tokens"], name="tokens"),
        node("Transpose", ["tokens"], ["t"], name="turn", perm=[0, 2, 1]),
        node("MatMul", ["t", "wq"], ["q"], name="q"),
        node("MatMul", ["q", "tokens"], ["scores"], name="scores"),
        node("Add", ["scores", "mask"], ["masked"], name="mask"),
        node("Softmax", ["masked"], ["attention"], name="softmax"),
        node("MatMul", ["attention", "t"], ["mixed"], name="mix"),
        node("MatMul", ["mixed", "wo"], ["out"], name="out"),
        node("ReduceMean", ["out"], ["m"], name="mean", axes=[1], keepdims=0),
        node("Gemm", ["m", "fw", "fb"], ["y"], name="fc", transB=1),
    ]
    constants = [drawn("wq", 8, 8), drawn("wo", 8, 8), constant("s1", [0, 8, 256], np.int64)]
    return model_of(stem(), (nodes, [*constants, constant("mask", mask), *head()[1]]))


def padded():
    """A maximum over a map that is padded with -inf, as TensorFlow's exporter writes it."""
    nodes = [
        node("Pad", ["f", "pads", "low"], ["p"], name="pad"),
        node("MaxPool", ["p"], ["m"], name="pool3", kernel_shape=[3, 3], strides=[2, 2]),
    ]
    constants = [constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64), constant("low", -np.inf)]
    return model_of(stem(), (nodes, constants), convolution("m", "c3", "e"), head("e"))


@pytest.mark.parametrize("model", [masked(), padded()], ids=["mask", "padding"])
def test_a_mask_and_a_padding_may_be_infinite(model, tmp_path):
    made = written(model, tmp_path, target="cpu")
    assert made.parity.sqnr_db > 25 and made.manifest.quantization["int8_mac_share"] == 1
    half = written(model, tmp_path, precision="float16")
    assert half.parity.sqnr_db > 40


def test_what_an_infinite_constant_reaches_is_known():
    assert infinite_tensors(Graph(masked())) == {"masked"}
    assert infinite_tensors(Graph(padded())) == {"p"}
    assert not infinite_tensors(Graph(model_of(stem(), head())))


def with_large_tensors(factor):
    """A network that computes with numbers times a factor in between; their squares are beyond float32."""
    model = model_of(stem(), head())
    graph = Graph(model)
    for name in ("c1_w", "c1_b"):
        graph.set_constant(name, graph.constant(name) * np.float32(factor))
    graph.set_constant("c2_w", graph.constant("c2_w") / np.float32(factor))
    return model


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("effort", ["default", pytest.param("fast", marks=pytest.mark.slow)])
def test_a_network_with_numbers_whose_squares_are_beyond_float32(effort, tmp_path):
    plain = written(with_large_tensors(1), tmp_path, effort=effort)
    made = written(with_large_tensors(2.0**110), tmp_path, effort=effort)
    assert made.parity.sqnr_db == pytest.approx(plain.parity.sqnr_db, abs=3) and made.parity.sqnr_db > 25


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("method", range_methods.METHODS)
def test_a_range_near_the_end_of_float32(method):
    largest = float(np.finfo(np.float32).max)
    values = np.random.default_rng(0).uniform(-1, 1, size=(3, 20000)).astype(np.float32) * np.float32(largest)
    values[0, :2] = -largest, largest
    seen, channels = Observer("t"), ChannelObserver("t")
    seen.update(values)
    channels.update(values)
    assert np.isfinite(channels.std).all() and channels.std.max() > 1e37
    for scheme in SCHEMES:
        low, high = range_methods.choose(seen, method, symmetric=scheme.symmetric, levels=scheme.levels)
        scale, zero = write_qdq.scale_and_zero(low, high, scheme)
        assert low < -0.5 * largest and high > 0.5 * largest and np.isfinite(scale)
        assert abs(int(zero) - (0 if scheme.symmetric else 128)) <= 1
