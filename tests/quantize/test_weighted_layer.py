"""The axes of a weight, by what ONNX Runtime computes with it."""

import numpy as np
import pytest
from small_layers import layer_of

from edgecnn.quantize.graph.weighted_layer import WeightedLayer, is_weighted, view_of
from edgecnn.runtime.ort_engine import open_session

# Operator, its attributes, the weight's shape, an input of one position, groups, inputs, outputs.
CASES = [
    ("Conv", {}, (6, 4, 3, 2), (2, 4, 3, 2), 1, 4, 6),
    ("Conv", {"group": 2}, (6, 2, 3, 2), (2, 4, 3, 2), 2, 4, 6),
    ("Conv", {"group": 4}, (8, 1, 3), (2, 4, 3), 4, 4, 8),
    ("ConvTranspose", {}, (4, 6, 3, 2), (2, 4, 1, 1), 1, 4, 6),
    ("ConvTranspose", {"group": 2}, (4, 3, 3, 2), (2, 4, 1, 1), 2, 4, 6),
    ("Gemm", {}, (5, 4), (3, 5), 1, 5, 4),
    ("Gemm", {"transB": 1}, (4, 5), (3, 5), 1, 5, 4),
    ("MatMul", {}, (5, 4), (3, 5), 1, 5, 4),
]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request, rng):
    op, attributes, weight, values, *counts = request.param
    weight, values = (rng.normal(size=shape).astype(np.float32) for shape in (weight, values))
    layer = layer_of(op, weight, values, **attributes)
    return layer.graph, layer.node, weight, values, counts


def output_of(graph, values):
    return open_session(graph.model.SerializeToString()).run(None, {"x": values})[0]


def test_channels_are_counted_over_all_groups(case):
    graph, node, weight, values, counts = case
    layer = view_of(graph, node)
    assert is_weighted(graph, node) and layer == WeightedLayer(node, weight.shape)
    assert [layer.groups, layer.inputs, layer.outputs] == counts
    assert output_of(graph, values).shape[1] == layer.outputs and values.shape[1] == layer.inputs


def test_the_form_by_channel_gives_the_layers_output(case):
    graph, node, weight, values, (groups, _, outputs) = case
    by_channel = view_of(graph, node).by_channel(weight)
    given = values.reshape(len(values), groups, by_channel.shape[2], -1)
    # An input as large as the kernel meets each tap once; one pixel of a transposed one goes to each tap.
    meets = "goit,ngi->ngot" if node.op_type == "ConvTranspose" else "goit,ngit->ngo"
    result = np.einsum(meets, by_channel, given[..., 0] if node.op_type == "ConvTranspose" else given)
    wanted = output_of(graph, values).reshape(len(values), outputs, -1)
    np.testing.assert_allclose(result.reshape(wanted.shape), wanted, atol=1e-5)


def test_a_matrix_becomes_the_weight_again(case):
    graph, node, weight, _, (groups, _, outputs) = case
    layer = view_of(graph, node)
    matrix = layer.as_matrix(weight)
    assert matrix.shape[:2] == (groups, outputs // groups) and matrix.size == weight.size
    np.testing.assert_array_equal(layer.from_matrix(matrix), weight)


def test_a_factor_for_each_output_scales_that_output(case):
    graph, node, weight, values, (groups, _, outputs) = case
    if node.op_type == "ConvTranspose" and groups > 1:
        return  # its outputs lie group after group on the same entries
    factors = np.arange(1, outputs + 1, dtype=np.float32)
    before = output_of(graph, values)
    graph.set_constant(node.input[1], weight * view_of(graph, node).by_output(factors))
    scaled = before * factors.reshape(-1, *[1] * (before.ndim - 2))
    np.testing.assert_allclose(output_of(graph, values), scaled, rtol=1e-4, atol=1e-5)


def test_each_multiplication_is_counted_once(case):
    graph, node, weight, values, _ = case
    layer, output = view_of(graph, node), output_of(graph, values)
    counted = values if layer.counted == node.input[0] else output
    # Here every weight meets one value of each image.
    assert counted.size * layer.macs_per_value == weight.size * len(values)
