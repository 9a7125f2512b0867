"""Activations of straight pieces, in sums and products that ONNX Runtime has integer kernels for."""

import numpy as np
import onnx
import pytest
from foreign_graphs import constant, convolution, decibels, head, images, model_of, node, run, stem

from edgecnn.quantize.effort_levels import PLAIN
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.integer_activations import integer_activations
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.quantizer import Quantizer, quantize
from edgecnn.schemes import CPU, OPENVINO, PORTABLE

_SLOPES = np.linspace(-0.3, 0.9, 8, dtype=np.float32).reshape(8, 1, 1)
#: Nodes from b to f, their constants, and the integer kernels that ONNX Runtime makes of them.
WRITTEN = {
    "HardSwish": ([node("HardSwish", ["b"], ["f"], name="act")], [], {"QLinearAdd": 1, "QLinearMul": 1}),
    "HardSwish in two nodes": (
        [
            node("HardSigmoid", ["b"], ["g"], name="gate", alpha=1 / 6),
            node("Mul", ["b", "g"], ["f"], name="act"),
        ],
        [],
        {"QLinearAdd": 1, "QLinearMul": 1},
    ),
    "another gate": (
        [
            node("HardSigmoid", ["b"], ["g"], name="gate", alpha=0.4, beta=0.3),
            node("Mul", ["g", "b"], ["f"], name="act"),
        ],
        [],
        {"QLinearAdd": 1, "QLinearMul": 1},
    ),
    "HardSigmoid": ([node("HardSigmoid", ["b"], ["f"], name="act", alpha=0.3, beta=0.6)], [], {}),
    "PRelu": (
        [node("PRelu", ["b", "slope"], ["f"], name="act")],
        [constant("slope", _SLOPES)],
        {"QLinearAdd": 1, "QLinearMul": 1},
    ),
    "PRelu with a slope above one": (
        [node("PRelu", ["b", "slope"], ["f"], name="act")],
        [constant("slope", 1.5 * _SLOPES)],
        {"QLinearAdd": 1, "QLinearMul": 2},
    ),
}


def network(name):
    nodes, constants, _ = WRITTEN[name]
    begun, weights = stem()
    model = model_of((begun[:-1], weights), (nodes, constants), convolution("f", "c3", "e"), head("e"))
    return prepare(model)


def kernels(model, path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [item.op_type for item in onnx.load(path).graph.node]


@pytest.mark.parametrize("name", WRITTEN)
def test_they_compute_the_same_and_in_integers(name, tmp_path):
    model = network(name)
    written = integer_activations(model)
    onnx.checker.check_model(written, full_check=True)
    assert decibels(run(model, images()), run(written, images())) > 100
    # What is written already stays as it is.
    assert [item.name for item in integer_activations(written).graph.node] == [
        item.name for item in written.graph.node
    ]
    made = quantize(model, [images(16)], CPU, "minmax").model
    assert decibels(run(model, images()), run(made, images())) > 25
    found = kernels(made, tmp_path / "optimized.onnx")
    assert {op: found.count(op) for op in ("QLinearAdd", "QLinearMul") if op in found} == WRITTEN[name][2]
    assert not {"HardSwish", "HardSigmoid", "PRelu", "Add", "Mul", "Clip", "Relu"} & set(found)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("scheme", [PORTABLE, OPENVINO], ids=lambda scheme: scheme.name)
def test_in_another_form_they_are_what_they_were(name, scheme):
    """A file is written for another target from the graph that the cpu form has."""
    model = network(name)
    before, after = (place(Graph(item), scheme) for item in (model, integer_activations(model)))
    assert set(before.tensors) == set(after.tensors) and before.float_nodes == after.float_nodes == {}


def test_what_the_user_leaves_in_float_is_not_rewritten():
    model = network("HardSwish")
    chosen = ChosenNodes(exclude=("op:HardSwish",))
    made = Quantizer(model, lambda: [images(16)], CPU, chosen=chosen)(PLAIN)
    assert made.float_nodes["act"] == "excluded: op:HardSwish"
    assert "HardSwish" in {item.op_type for item in made.model.graph.node}


def test_a_layer_that_something_else_reads_is_not_scaled():
    begun, weights = stem()
    both = [node("HardSwish", ["b"], ["h"], name="act"), node("Add", ["h", "b"], ["f"], name="sum")]
    model = prepare(model_of((begun[:-1], weights), (both, []), convolution("f", "c3", "e"), head("e")))
    assert [item.op_type for item in integer_activations(model).graph.node] == [
        item.op_type for item in model.graph.node
    ]


def test_a_constant_has_codes_only_where_these_are_enough():
    """One number is exact; factors that differ much, and what adds to each channel, stay float."""
    factors = {
        "one number": ("Mul", np.float32(0.37), True),
        "a negative one": ("Mul", np.float32(-2.5), True),
        "a sum": ("Add", np.float32(0.7), True),
        "alike": ("Mul", np.linspace(0.5, 1.5, 8, dtype=np.float32).reshape(8, 1, 1), True),
        "far apart": ("Mul", np.geomspace(1e-3, 1, 8, dtype=np.float32).reshape(8, 1, 1), False),
        "a sum for each channel": ("Add", np.linspace(0.5, 1.5, 8, dtype=np.float32).reshape(8, 1, 1), False),
    }
    for name, (op, value, integer) in factors.items():
        nodes = [
            node("Relu", ["b"], ["r2"], name="r2"), node(op, ["r2", "v"], ["f"], name="act"),
        ]  # fmt: skip
        begun, weights = stem()
        model = model_of(
            (begun[:-1], weights), (nodes, [constant("v", value)]), convolution("f", "c3", "e"), head("e")
        )
        placement = place(Graph(model), CPU)
        assert (placement.constants == {"act": "v"}) is integer, name
        assert ("act" in placement.float_nodes) is not integer, name


def test_a_constant_that_is_no_step_of_codes_is_not_rounded():
    """pi is one code of one step."""
    begun, weights = stem()
    scaled = [node("Mul", ["b", "pi"], ["f"], name="act")], [constant("pi", np.float32(-np.pi))]
    model = model_of((begun[:-1], weights), scaled, convolution("f", "c3", "e"), head("e"))
    made = quantize(model, [images(16)], CPU, "minmax").model
    values = {item.name: onnx.numpy_helper.to_array(item) for item in made.graph.initializer}
    codes, scale, zero = (values[f"act/constant_{key}"] for key in ("quantized", "scale", "zero"))
    assert (codes.astype(np.float32) - zero.astype(np.float32)) * scale == np.float32(-np.pi)


def test_a_slope_that_is_above_one_by_less_than_a_code_counts_as_one():
    nodes = WRITTEN["PRelu"][0]
    begun, weights = stem()
    slopes = [constant("slope", np.append(_SLOPES.ravel()[:7], 1.01).astype(np.float32).reshape(8, 1, 1))]
    model = prepare(model_of((begun[:-1], weights), (nodes, slopes), convolution("f", "c3", "e"), head("e")))
    written = integer_activations(model)
    assert [item.op_type for item in written.graph.node].count("Mul") == 1
    assert 45 < decibels(run(model, images()), run(written, images())) < 100
