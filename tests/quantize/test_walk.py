"""The walk through a float network and its int8 twin, on graphs that compute with shapes."""

import numpy as np
import onnx
import onnxruntime
import pytest

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.repair.walk import Layer, Repaired, walk
from edgecnn.schemes import PORTABLE

#: Images that the walk takes in one chunk of four and a rest.
COUNT = 6
#: A class token before the patches of each image, as ViT has it: its number follows from the input's shape.
TOKENS = """
    <ir_version: 10, opset_import: ["" : 18]>
    tokens (float[n, 3, 8, 8] image) => (float[n, 5] logits)
    <int64[1] zero = {0}, int64[1] one = {1}, int64[1] four = {4}, int64[2] last = {1, 4}>
    {
        sizes = Shape (image)
        count = Slice (sizes, zero, one)
        patches = Conv <kernel_shape = [4, 4], strides = [4, 4]> (image, filters)
        flat_shape = Concat <axis = 0> (count, four, negative)
        flat = Reshape (patches, flat_shape)
        token_shape = Concat <axis = 0> (count, last)
        twice = Mul (token, two)
        tokens = Expand (twice, token_shape)
        all_tokens = Concat <axis = 1> (tokens, flat)
        mean = ReduceMean <keepdims = 0> (all_tokens, one)
        logits = Gemm <transB = 1> (mean, head, offset)
    }
"""


@pytest.fixture
def model(rng) -> onnx.ModelProto:
    model = onnx.parser.parse_model(TOKENS)
    constants = {
        "negative": np.array([-1]),
        "two": np.float32([2]),
        "token": rng.normal(size=(1, 1, 4)).astype(np.float32),
        "filters": rng.normal(size=(4, 3, 4, 4)).astype(np.float32) / 7,
        "head": rng.normal(size=(5, 4)).astype(np.float32),
        "offset": rng.normal(size=5).astype(np.float32),
    }
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    for index, node in enumerate(model.graph.node):
        node.name = f"node_{index}"
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def test_shapes_are_computed_for_each_piece_and_not_joined_over_the_images(model, rng):
    images = rng.normal(size=(COUNT, 3, 8, 8)).astype(np.float32)
    seen: dict[str, Layer] = {}

    def repair(layer: Layer) -> Repaired:
        seen[layer.node.op_type] = layer
        return Repaired()

    placement = place(Graph(model), PORTABLE)
    ranges = dict.fromkeys(placement.tensors, (-8.0, 8.0))
    walk(model, placement, ranges, PORTABLE, images, repair)

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, None))
    (expected,) = onnxruntime.InferenceSession(probe.SerializeToString()).run(["mean"], {"image": images})
    assert list(seen) == ["Conv", "Gemm"]
    np.testing.assert_array_equal(seen["Conv"].exact, images)
    np.testing.assert_allclose(seen["Gemm"].exact, expected, rtol=1e-6, atol=1e-6)
    assert seen["Gemm"].inexact.shape == expected.shape
    # Rounded to steps of 1/16, and the mean of five of them.
    assert 0 < np.abs(seen["Gemm"].inexact - expected).max() < 0.2


def test_images_join_where_tensors_are_small_and_are_then_like_the_others(model, rng, monkeypatch):
    images = rng.normal(size=(16, 3, 8, 8)).astype(np.float32)
    placement = place(Graph(model), PORTABLE)
    ranges = dict.fromkeys(placement.tensors, (-8.0, 8.0))

    def walked() -> dict[str, Layer]:
        seen: dict[str, Layer] = {}
        walk(
            model, placement, ranges, PORTABLE, images,
            lambda layer: seen.setdefault(layer.node.op_type, layer) and Repaired(),
        )  # fmt: skip
        return seen

    every = walked()
    # Two networks' tensors of the first piece do not fit for more than eight images, those of the last do.
    monkeypatch.setattr("edgecnn.quantize.repair.walk._MEMORY", 8000)
    some = walked()
    assert (len(some["Conv"].exact), len(some["Gemm"].exact)) == (8, 16)
    np.testing.assert_allclose(some["Gemm"].exact, every["Gemm"].exact, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(some["Gemm"].inexact, every["Gemm"].inexact, rtol=1e-6, atol=1e-6)
