"""The reference is the file that was given, run as it is; what is prepared is compared with it."""

import numpy as np
import pytest
from foreign_graphs import constant, convolution, head, images, model_of, node, run, stem, written
from onnx import TensorProto, helper

from edgecnn.errors import ParityError
from edgecnn.parity import Output
from edgecnn.quantize import quantize_file
from edgecnn.quantize.graph import opset
from edgecnn.quantize.graph.opset import upgrade
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.reference import Reference

SCALES = [
    (0.6, 0.6), (0.5, 2), (1.3, 0.7), (2, 2), (0.33, 0.9), (1, 0.4), (0.25, 0.25), (1.5, 1.5), (3, 0.51),
]  # fmt: skip


def resized(mode, scales, version, side=17):
    """A Resize or Upsample of its time on (n, 3, side, side)."""
    factors = np.float32([1, 1, *scales])
    if version == 10:
        nodes = [node("Resize", ["x", "s"], ["y"], name="resize", mode=mode)]
    elif version == 9:
        nodes = [node("Upsample", ["x", "s"], ["y"], mode=mode)]
    else:
        nodes = [node("Upsample", ["x"], ["y"], mode=mode, scales=factors.tolist())]
    constants = [constant("s", factors)] if version > 7 else []
    return model_of((nodes, constants), shape=["n", 3, side, side - 4], opset=version)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("version", [7, 9, 10])
def test_an_image_is_resized_as_the_old_operator_did(version, mode):
    picture = np.random.default_rng(0).normal(size=(2, 3, 17, 13)).astype(np.float32)
    for scales in SCALES:
        if version < 10 and min(scales) < 1:
            continue  # an Upsample only enlarges
        model = resized(mode, scales, version)
        np.testing.assert_allclose(run(upgrade(model), picture), run(model, picture), atol=1e-6)


def shrinking(shape=("n", 3, 32, 32)):
    """A network of operator set 10 that makes a map smaller by the nearest pixels."""
    smaller = [node("Resize", ["f", "s"], ["g"], name="resize", mode="nearest")]
    parts = stem(), (smaller, [constant("s", [1, 1, 0.6, 0.6])]), convolution("g", "c3", "e"), head("e")
    return model_of(*parts, shape=shape, opset=10)


def test_the_figure_is_against_the_file(tmp_path, monkeypatch):
    seen = []
    plain = quantize_file.Reference.of

    def remembered(model, batch, **options):
        seen.append((batch, options))
        return plain(model, batch, **options)

    monkeypatch.setattr(quantize_file.Reference, "of", remembered)
    made = written(shrinking(), tmp_path, target="cpu")
    checks, options = seen[0]
    assert options == {"optimize": False}
    reference, output = run(shrinking(), checks), run(made.path, checks)
    noise = np.sum((reference.astype(np.float64) - output) ** 2)
    assert made.parity.sqnr_db == pytest.approx(10 * np.log10(np.sum(reference**2) / noise), abs=1)


@pytest.mark.parametrize("size", [None, 32])
def test_a_rewriting_that_changes_the_network_is_noticed(size, tmp_path, monkeypatch):
    def wrongly(model):
        for item in model.graph.node:
            if item.op_type == "Resize":
                item.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
                item.attribute.append(helper.make_attribute("nearest_mode", "floor"))

    monkeypatch.setattr(opset, "_say_how_to_resize", wrongly)
    model = shrinking(["n", 3, "h", "w"] if size else ["n", 3, 32, 32])
    with pytest.raises(ParityError, match="the prepared graph does not agree"):
        written(model, tmp_path, size=size)
    assert not (tmp_path / "made.onnx").exists()


def test_a_file_that_does_not_run_as_it_is_is_compared_as_it_was_upgraded(tmp_path):
    nodes, constants = stem()
    stretched = [node("Add", ["f", "per"], ["g"], name="old", broadcast=1, axis=1)]
    model = model_of((nodes, constants), (stretched, [constant("per", np.arange(8))]), head("g"), opset=6)
    model.ir_version = 3
    for item in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(item.name, TensorProto.FLOAT, list(item.dims)))
    made = written(model, tmp_path)
    assert any("does not run as it is" in note for note in made.notes) and made.parity.sqnr_db > 20


def test_images_of_an_open_size_are_resized_by_the_same_rule():
    model = shrinking(["n", 3, "h", "w"])
    np.testing.assert_allclose(run(prepare(model, 32), images()), run(model, images()), atol=1e-5)


def test_a_reference_of_the_first_images_is_that_of_all_but_where_an_output_has_no_row_for_each():
    values = np.random.default_rng(0).normal(size=(6, 10))
    reference = Reference([Output("y", values)], np.zeros((6, 3, 4, 4), np.float32))
    few = reference.first(2)
    assert len(few.images) == 2 and np.array_equal(few.outputs[0].values, values[:2])
    odd = Reference([*reference.outputs, Output("z", values[:1])], reference.images)
    assert odd.first(2) is odd
