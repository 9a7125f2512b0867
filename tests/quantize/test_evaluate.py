"""Which outputs of a network are compared, by what, and what is said of them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgecnn.artifact import Manifest
from edgecnn.budget import Budget
from edgecnn.errors import ArtifactError, InvalidValueError, ParityError
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.graph.readouts import readouts
from edgecnn.quantize.labelled_accuracy import Labelled
from edgecnn.quantize.reference import Reference, logits
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.tasks.classification import SCORE
from edgecnn.tasks.task import VALUES

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(10, 3, 8, 8)).astype(np.float32)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def network(*nodes, outputs=(("y", FLOAT),), classes=5, batch="n", bias=0.0):
    """A convolution whose means are `scores`, (n, classes), and nodes "Operator input output" after it."""
    weights = np.random.default_rng(1).normal(size=(classes, 3, 1, 1)).astype(np.float32)
    made = [
        helper.make_node("Conv", ["x", "w", "b"], ["map"], name="conv", kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["map"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["scores"], name="flat"),
    ]
    for index, (words, options) in enumerate(nodes):
        operator, read, *written = words.split()
        made.append(helper.make_node(operator, read.split(","), written, name=f"n{index}", **options))
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.full(classes, bias, np.float32), "b"),
            numpy_helper.from_array(np.int64([2]), "k"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


ARGMAX = ("ArgMax scores y", {"axis": 1, "keepdims": 0})


@pytest.mark.parametrize(
    ("model", "compared"),
    [
        (network(outputs=[("scores", FLOAT)]), "scores"),
        (network(("Softmax scores y", {"axis": 1})), "scores"),
        (network(("Softmax scores p", {}), ("Cast p y", {"to": FLOAT})), "scores"),
        (network(ARGMAX, outputs=[("y", INT64)]), "scores"),
        (network(("ArgMax scores i", {"axis": 1}), ("Cast i y", {"to": FLOAT})), "scores"),
        (network(("TopK scores,k y i", {"axis": 1}), outputs=[("y", FLOAT), ("i", INT64)]), "scores"),
        (network(("Sigmoid scores y", {})), "y"),
    ],
    ids=["plain", "softmax", "cast softmax", "argmax", "cast argmax", "topk", "sigmoid"],
)
def test_what_enters_a_softmax_or_an_argmax_is_compared(model, compared):
    (found,) = readouts(model)
    assert found.tensor == compared and found.threshold == (0.5 if compared == "y" else 0.0)
    prepared = prepare(model)
    reference = Reference.of(model, IMAGES)
    assert reference.parity(prepared, "it").top1_agreement == 1.0
    assert reference.not_compared(model) == []


def test_a_network_that_gives_only_other_integers_cannot_be_checked():
    model = network(("Cast scores y", {"to": INT64}), outputs=[("y", INT64)])
    with pytest.raises(ArtifactError, match="no float32 output"):
        prepare(model)


def test_every_output_is_compared_and_integers_are_named():
    outputs = [("i", INT64), ("map", FLOAT), ("y", FLOAT)]
    model = network(
        ("Cast scores i", {"to": INT64}), ("ReduceMean scores y", {"noop_with_empty_axes": 1}),
        outputs=outputs,
    )  # fmt: skip
    reference = Reference.of(model, IMAGES)
    kinds = [(item.name, reference.task.kind(item)) for item in reference.outputs]
    assert kinds == [("map", VALUES), ("y", "class scores")]
    assert reference.not_compared(model) == ["i"]
    assert logits(model, IMAGES).shape == (10, 5), "the class scores, wherever they stand"


def test_an_output_has_a_row_for_each_image_whichever_axis_they_lie_along():
    model = network(("Transpose scores y", {"perm": [1, 0]}), outputs=[("y", FLOAT)])
    straight = Reference.of(network(outputs=[("scores", FLOAT)]), IMAGES)
    turned = Reference.of(model, IMAGES)
    np.testing.assert_allclose(turned.outputs[0].values, straight.outputs[0].values, rtol=1e-5)
    assert turned.parity(model, "it").top1_agreement == 1.0


def test_an_output_without_an_axis_of_images_is_computed_image_by_image():
    model = network(("ReduceSum scores y", {"keepdims": 0}), outputs=[("y", FLOAT), ("scores", FLOAT)])
    reference = Reference.of(model, IMAGES)
    assert [len(item.values) for item in reference.outputs] == [10, 10]
    summed, scores = (item.values for item in reference.outputs)
    np.testing.assert_allclose(summed.ravel(), scores.sum(axis=1), rtol=1e-4)
    with pytest.raises(ArtifactError, match="'y' has no axis for the images"):
        Reference.of(network(("ReduceSum scores y", {"keepdims": 0})), IMAGES)


@pytest.mark.parametrize("batch", ["n", 4])
def test_outputs_have_a_row_for_each_image_whatever_the_batch(batch):
    model = network(outputs=[("scores", FLOAT)], batch=batch)
    singly = network(outputs=[("scores", FLOAT)], batch=1)
    np.testing.assert_allclose(
        Reference.of(model, IMAGES).outputs[0].values, logits(singly, IMAGES), rtol=1e-5
    )


def test_an_agreement_is_asked_only_of_what_decides():
    asked = Budget(min_agreement=0.9)
    with pytest.raises(InvalidValueError, match="no agreement can be asked"):
        Reference.of(network(outputs=[("map", FLOAT)]), IMAGES).check_budget(asked)
    scores = Reference.of(network(outputs=[("scores", FLOAT)], classes=1), IMAGES)
    assert scores.task.kind(scores.outputs[0]) == SCORE
    scores.check_budget(asked)
    one_side = Reference.of(network(outputs=[("scores", FLOAT)], classes=1, bias=100.0), IMAGES)
    with pytest.raises(ParityError, match="all 10 images have a score on one side of 0"):
        one_side.check_budget(asked)
    one_side.check_budget(Budget(min_sqnr_db=20.0))


def test_top1_of_a_single_score_is_the_side_of_its_threshold(tmp_path):
    for name, colour in (("dark", 0), ("light", 255)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8), (colour,) * 3).save(tmp_path / name / "0.png")
    model = network(outputs=[("scores", FLOAT)], classes=1)
    rows = numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones_like(rows), "w"))
    preparation = Preprocessing(8, crop=1.0, mean=(0.5,) * 3, std=(1.0,) * 3)
    labelled = Labelled.open(str(tmp_path), preparation, Manifest((), ()), model)
    assert labelled.drop(model) == 0
    inverted = onnx.ModelProto()
    inverted.CopyFrom(model)
    inverted.graph.initializer[0].CopyFrom(numpy_helper.from_array(-np.ones_like(rows), "w"))
    assert labelled.drop(inverted) == 100
    with pytest.raises(InvalidValueError, match="no top-1"):
        Labelled.open(str(tmp_path), preparation, Manifest((), ()), network(outputs=[("map", FLOAT)]))
