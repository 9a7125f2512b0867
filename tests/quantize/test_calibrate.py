import tracemalloc
import weakref

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.errors import DataError
from edgecnn.quantize.ranges import calibrate
from edgecnn.quantize.ranges.calibrate import observe
from edgecnn.quantize.ranges.range_methods import METHODS, choose
from edgecnn.runtime.ort_engine import open_session

SIZE = 64


def network(largest: float = 3.0) -> onnx.ModelProto:
    """Return input -> Conv -> Relu -> GlobalAveragePool."""
    weight = (np.random.default_rng(0).uniform(-1, 1, (8, 3, 3, 3)) * largest).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "weight"], ["conv"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"], name="relu"),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"], name="pool"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("pool", TensorProto.FLOAT, ["batch", 8, 1, 1])],
        [numpy_helper.from_array(weight, "weight")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def batches(*sizes, seed=1):
    rng = np.random.default_rng(seed)
    for size in sizes:
        yield rng.normal(size=(size, 3, SIZE, SIZE)).astype(np.float32)


ALL = ["input", "relu", "pool"]


def test_every_tensor_is_observed_and_the_model_is_left_alone():
    model = network()
    before = model.SerializeToString()
    observed = observe(model, ALL, batches(2, 3))
    assert list(observed) == ALL and model.SerializeToString() == before
    assert all(observer.images == 5 for observer in observed.values())
    assert observed["relu"].minimum == 0 < observed["relu"].maximum and observed["relu"].zeros > 0
    assert observed["input"].minimum < 0 and observed["pool"].sampled == 40
    assert observed.channels == {}


def test_how_images_are_split_into_batches_does_not_matter():
    whole = next(batches(12))
    one, many = (observe(network(), ALL, np.split(whole, parts)) for parts in (1, 4))
    for name in ALL:
        for method in METHODS:
            expected = choose(one[name], method, symmetric=True, levels=254)
            assert choose(many[name], method, symmetric=True, levels=254) == pytest.approx(expected, rel=1e-5)


def test_channels_are_observed_of_tensors_of_choice():
    (batch,) = batches(4)
    observed = observe(network(), ["relu"], np.split(batch, 2), channels=["input", "conv", "relu"])
    assert list(observed) == ["relu"] and set(observed.channels) == {"input", "conv", "relu"}
    np.testing.assert_allclose(observed.channels["input"].mean, batch.mean((0, 2, 3), dtype=float), rtol=1e-9)
    conv, relu = observed.channels["conv"], observed.channels["relu"]
    assert conv.count == 4 * SIZE * SIZE and conv.mean.shape == (8,)
    np.testing.assert_array_equal(np.maximum(conv.maximum, 0), relu.maximum)
    assert (relu.minimum == 0).all() and (relu.mean > 0).all() and (relu.std < conv.std).all()


def test_only_the_input():
    assert list(observe(network(), ["input"], batches(1))) == ["input"]


def test_progress_counts_images():
    done = []
    observe(network(), ALL, batches(2, 3, 1), progress=done.append)
    assert done == [2, 5, 6]


def test_no_images_is_refused():
    with pytest.raises(DataError, match="no calibration images") as caught:
        observe(network(), ALL, iter([]))
    assert "`calib`" in caught.value.hint


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_tensor_that_is_not_finite_is_named(value):
    (batch,) = batches(1)
    batch[0, 0, 0, 0] = value
    with pytest.raises(DataError, match="'input'"):
        observe(network(), ALL, [batch])
    with pytest.raises(DataError, match="'conv'"):
        observe(network(3e38), ["conv", "relu"], batches(1))
    with pytest.raises(DataError, match="'conv'"):
        observe(network(3e38), [], batches(1), channels=["relu", "conv"][::-1])


def test_memory_does_not_grow_with_the_images():
    model = network()
    sizes = []
    for count in (4, 40):
        tracemalloc.start()
        observe(model, ALL, batches(*[4] * count), channels=["conv"])
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sizes[1] < 1.1 * sizes[0]


class Watching:
    """A session that counts how many of the arrays it gave earlier are still held when it runs again."""

    def __init__(self, session):
        self._session = session
        self._given = []
        self.held = []

    def run(self, *arguments):
        self.held.append(sum(given() is not None for given in self._given))
        values = self._session.run(*arguments)
        self._given = [weakref.ref(value) for value in values]
        return values


def test_a_batch_is_let_go_before_the_next_is_computed(monkeypatch):
    watching = []

    def open_watching(model):
        watching.append(Watching(open_session(model)))
        return watching[0]

    monkeypatch.setattr(calibrate, "open_session", open_watching)
    observe(network(), ALL, batches(4, 4, 4), channels=["conv"])
    assert watching[0].held == [0, 0, 0]
