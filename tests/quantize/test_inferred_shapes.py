"""Shapes are inferred without weights, and are the same as with them."""

import onnx
from foreign_graphs import constant, drawn, head, model_of, node, stem

from edgecnn.quantize.graph.index import inferred_shapes, sizes, without_weights

#: From the map f to a map of 8 channels, through constants that are shapes and a weight that is read twice.
MIDDLE = (
    [
        node("Reshape", ["f", "flat_shape"], ["flat"], name="flatten_map"),
        node("MatMul", ["flat", "square"], ["turned"], name="turn"),
        node("MatMul", ["turned", "square"], ["again"], name="turn_again"),
        node("Reshape", ["again", "map_shape"], ["m"], name="map"),
    ],
    [
        constant("flat_shape", [0, 8, 256], int),
        constant("map_shape", [0, 8, 16, 16], int),
        drawn("square", 256, 256),
    ],
)


def test_shapes_are_those_of_the_whole_model():
    model = model_of(stem(), MIDDLE, head("m"), output=("n", 10))
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    whole = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    assert inferred_shapes(model) == whole and whole["m"] == [0, 8, 16, 16]
    assert sizes(model)["m"] == 8 * 16 * 16 and "square" not in sizes(model)


def test_no_weight_is_copied():
    model = model_of(stem(), MIDDLE, head("m"))
    light = without_weights(model)
    assert light.ByteSize() < 4096 < 256 * 256 * 4 < model.ByteSize()
    assert {tensor.name for tensor in light.graph.initializer} >= {"flat_shape", "map_shape"}
    assert [value.name for value in model.graph.input] == ["x"], "the model itself stays as it is"
