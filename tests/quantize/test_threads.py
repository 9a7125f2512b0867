"""The same seed gives the same bytes, however many threads compute."""

from functools import partial

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from threadpoolctl import threadpool_limits

from edgecnn.quantize.effort_levels import FITTED
from edgecnn.quantize.quantizer import quantize
from edgecnn.quantize.ranges import calibrate
from edgecnn.quantize.repair import kept_tensors
from edgecnn.runtime.ort_engine import open_session
from edgecnn.schemes import PORTABLE

CHANNELS = 96


@pytest.fixture
def model(rng) -> onnx.ModelProto:
    """Layers wide enough that BLAS gives several threads work: 864 inputs, and more of them than rows."""

    def weight(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w1": weight(CHANNELS, 3, 3, 3),
        "w2": weight(CHANNELS, CHANNELS, 3, 3),
        "w3": weight(10, CHANNELS),
        "b": np.zeros(CHANNELS, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b"], ["c1"], name="c1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="r1"),
        helper.make_node("Conv", ["r1", "w2", "b"], ["c2"], name="c2", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"], name="r2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="p"),
        helper.make_node("Flatten", ["p"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "w3"], ["y"], name="g", transB=1),
    ]
    value = partial(helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", shape=["n", 3, 8, 8])],
        [value("y", shape=["n", 10])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize("images", [8, 40])
def test_one_thread_and_two_give_the_same_bytes(model, rng, monkeypatch, images):
    batches = list(rng.normal(size=(images // 4, 4, 3, 8, 8)).astype(np.float32))

    def written(threads: int) -> bytes:
        for module in (calibrate, kept_tensors):
            monkeypatch.setattr(module, "open_session", partial(open_session, threads=threads))
        with threadpool_limits(threads):
            return quantize(model, batches, PORTABLE, recipe=FITTED).model.SerializeToString()

    assert written(1) == written(2)
