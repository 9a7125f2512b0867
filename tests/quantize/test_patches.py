import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from small_layers import layer_of, node_of

from edgecnn.quantize.graph.weighted_layer import WeightedLayer
from edgecnn.quantize.repair.patches import Patches, Rows


def every_row(node: onnx.NodeProto, weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    return Patches(WeightedLayer(node, weight.shape), values.shape, 10**9)(values)


@pytest.mark.parametrize("group", [1, 2, 6])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 0, 1)])
def test_rows_of_a_convolution_are_those_of_unfold(rng, group, stride, dilation, pads):
    values = rng.normal(size=(2, 6, 9, 8)).astype(np.float32)
    weight = np.zeros((6, 6 // group, 3, 2), np.float32)
    node = node_of("Conv", group=group, strides=stride, dilations=dilation, pads=pads)
    top, left, bottom, right = pads
    padded = torch.nn.functional.pad(torch.from_numpy(values), (left, right, top, bottom))
    wanted = torch.nn.functional.unfold(padded, (3, 2), dilation=dilation, stride=stride)
    # (N, C k, positions) to (groups, N positions, k of a group).
    wanted = wanted.reshape(2, group, -1, wanted.shape[2]).permute(1, 0, 3, 2).flatten(1, 2)
    np.testing.assert_array_equal(every_row(node, weight, values), wanted.numpy())


@pytest.mark.parametrize(
    ("op", "attributes", "weight", "values"),
    [
        ("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (4, 3, 3, 3), (2, 3, 8, 7)),
        ("Conv", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (4, 3, 3, 3), (2, 3, 8, 7)),
        ("Conv", {"group": 3, "pads": [1, 1]}, (6, 1, 3), (2, 3, 9)),
        ("Gemm", {"transB": 0}, (5, 4), (3, 5)),
        ("Gemm", {"transB": 1}, (4, 5), (3, 5)),
        ("MatMul", {}, (5, 4), (3, 5)),
        ("MatMul", {}, (5, 4), (2, 3, 5)),
    ],
)
def test_rows_times_the_matrix_are_the_layers_output(rng, op, attributes, weight, values):
    weight, values = (rng.normal(size=shape).astype(np.float32) for shape in (weight, values))
    layer = layer_of(op, weight, values, **attributes)
    (wanted,) = ReferenceEvaluator(layer.graph.model).run(None, {"x": values})
    matrix = layer.view.as_matrix(weight)
    given = every_row(layer.node, weight, values) @ matrix.transpose(0, 2, 1)
    if op == "Conv":
        wanted = np.moveaxis(wanted, 1, -1)
    wanted = wanted.reshape(given.shape[1], matrix.shape[0], matrix.shape[1]).transpose(1, 0, 2)
    np.testing.assert_allclose(given, wanted, atol=1e-5)
    np.testing.assert_array_equal(layer.view.from_matrix(matrix), weight)


def test_a_sample_is_the_same_positions_of_every_input(rng):
    node, shape = node_of("Conv", pads=[1, 1, 1, 1]), (4, 3, 10, 10)
    patches = Patches(WeightedLayer(node, (2, 3, 3, 3)), shape, 50)
    values = rng.normal(size=shape).astype(np.float32)
    assert patches.count == 50
    np.testing.assert_array_equal(patches(values) * 2, patches(values * 2))


def rows_of(values: np.ndarray, count: int = 10**9) -> Rows:
    every = Patches(WeightedLayer(node_of("Conv"), (1, 1, 1, 1)), values.shape, count)(values)
    return Rows(every, every + 0.5)


def test_split_takes_other_images_for_each_part():
    number = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None, None], (4, 1, 6, 6))
    first, second = rows_of(number).split(2)
    assert set(first.wanted.ravel()) == {0, 1} and set(second.wanted.ravel()) == {2, 3}
    assert set(first.given.ravel()) == {0.5, 1.5}


@pytest.mark.parametrize("count", [7, 10**6])
def test_picked_rows_are_some_of_all_and_no_two_the_same(count):
    every = rows_of(np.arange(2 * 36, dtype=np.float32).reshape(2, 1, 6, 6), 60)
    picked = every.pick(count, np.random.default_rng(1))
    chosen = picked.wanted.ravel()
    assert picked.count == len(set(chosen)) == min(count, 60) and set(chosen) <= set(every.wanted.ravel())
    np.testing.assert_array_equal(picked.given, picked.wanted + 0.5)
