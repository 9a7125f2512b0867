"""A foreign graph may use the names that edgecnn gives to what it adds."""

import copy

import pytest
from foreign_graphs import decibels, head, images, model_of, run, stem, written

from edgecnn.quantize.effort_levels import Recipe
from edgecnn.quantize.graph.free_names import Names, is_ours
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.quantize_request import RequantizeRequest
from edgecnn.quantize.quantizer import quantize
from edgecnn.quantize.requantize import requantize_file
from edgecnn.schemes import PORTABLE

PLAIN = model_of(stem(), head())
#: Names that are ours, in a foreign graph: what of it is called so.
OURS = ("x_quantized", "x_dequantized", "x_scale", "x_zero", "r_scale", "r_quantized", "c2/weight_scale")


def renamed(how):
    """The plain network with our names for its inner tensors, its constants, its nodes or its output."""
    model = copy.deepcopy(PLAIN)
    inner = dict(zip(("a", "b", "pooled", "flat"), OURS, strict=False))
    constants = dict(zip(("c1_w", "c2_w", "c2_b", "fw", "fb"), OURS[::-1], strict=False))
    tensors = {"tensors": inner, "constants": constants, "output": {"y": "x_scale"}}.get(how, {})
    for item in model.graph.node:
        item.input[:] = [tensors.get(name, name) for name in item.input]
        item.output[:] = [tensors.get(name, name) for name in item.output]
    for value in (*model.graph.initializer, *model.graph.output):
        value.name = tensors.get(value.name, value.name)
    if how == "nodes":
        names = ("x/quantize", "x/dequantize", "c2/weight/dequantize", "r/quantize", "f/quantize")
        for item, name in zip(model.graph.node, names, strict=False):
            item.name = name
    return model


@pytest.mark.parametrize("how", ["tensors", "constants", "output", "nodes"])
def test_names_that_are_ours_are_taken(how, tmp_path):
    made = written(renamed(how), tmp_path, calib_images=4, check_images=4)
    assert decibels(run(PLAIN, images()), run(made.path, images())) > 15
    other = requantize_file(RequantizeRequest(made.path, tmp_path / "other.onnx", "cpu"))
    assert decibels(run(PLAIN, images()), run(other.path, images())) > 15


def test_range_methods_are_tried_under_other_names_too():
    prepared = prepare(renamed("tensors"))
    made = quantize(prepared, [images(8)], PORTABLE, recipe=Recipe("by tensor", by_tensor=True)).model
    assert decibels(run(PLAIN, images()), run(made, images())) > 15


def test_a_fresh_name_is_one_that_nobody_has():
    names = Names(["a", "a_", "b"])
    assert [names.fresh(name) for name in ("a", "a", "b", "c", "c")] == ["a__", "a___", "b_", "c", "c_"]
    assert is_ours("a___", "a") and is_ours("a", "a")
    assert not is_ours("a_b", "a") and not is_ours("b", "a")
