"""Back from an int8 file to a float model, and on to the other scheme."""

import functools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from program import SMALL
from small_graphs import GOLDEN, model_of

from edgecnn import targets
from edgecnn.artifact import read_manifest
from edgecnn.errors import ArtifactError
from edgecnn.export.image_input import with_uint8_input
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.integer_activations import integer_activations
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.placement.remove_qdq import exclusions, strip, to_scheme
from edgecnn.quantize.quantizer import quantize
from edgecnn.runtime.ort_engine import open_session
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.schemes import CPU, OPENVINO, PORTABLE, SCHEMES
from edgecnn.tasks.compare import compare

RNG = np.random.default_rng(0)
each_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
RUNS = [name for name, golden in GOLDEN.items() if golden.runs]
OTHER = {PORTABLE: CPU, CPU: OPENVINO, OPENVINO: PORTABLE}


def images(count):
    return RNG.normal(size=(count, 4, 8, 8)).astype(np.float32)


def constants(model):
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def same_integers(one, other):
    """All that Q/DQ nodes read: integers, scales and zero points."""
    first, second = constants(one), constants(other)
    names = [
        sorted(name for node in model.graph.node if "quantize" in node.name for name in node.input)
        for model in (one, other)
    ]
    assert names[0] == names[1]
    for name in set(names[0]) & set(first):
        assert first[name].dtype == second[name].dtype
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def answers(model, batch):
    name = model.graph.input[0].name
    return open_session(model.SerializeToString()).run(None, {name: batch})[0]


@functools.cache
def calibration():
    return images(4)


@functools.cache
def quantized(name, scheme):
    """A golden graph in a scheme: what tests look at, and change only in copies."""
    return quantize(integer_activations(model_of(GOLDEN[name].nodes)), [calibration()], scheme, "minmax")


@each_scheme
@pytest.mark.parametrize("name", RUNS)
def test_there_and_back(name, scheme):
    model, batch = integer_activations(model_of(GOLDEN[name].nodes)), calibration()
    made = quantized(name, scheme).model
    parts = strip(made)
    assert parts.symmetric is scheme.symmetric
    assert [node.name for node in parts.model.graph.node] == [node.name for node in model.graph.node]
    for ours, theirs in zip(parts.model.graph.node, model.graph.node, strict=True):
        assert list(ours.output) == list(theirs.output)
        assert ours.input[0] in (theirs.input[0], f"{ours.name}/constant")
    onnx.checker.check_model(parts.model, full_check=True)
    placement = place(Graph(parts.model), scheme)
    again = write_qdq.insert(parts.model, placement, parts.ranges, scheme, parts.weights)
    same_integers(made, again)
    np.testing.assert_array_equal(answers(made, batch), answers(again, batch))


@each_scheme
@pytest.mark.parametrize("name", RUNS)
def test_to_the_other_scheme_and_back(name, scheme):
    batch, result = calibration(), quantized(name, scheme)
    kept = {"scheme": scheme.name, "ranges": result.ranges, "float_nodes": result.float_nodes}
    other, placement = to_scheme(result.model, kept, OTHER[scheme])
    direct = quantized(name, OTHER[scheme])
    assert placement.float_nodes == direct.float_nodes
    onnx.checker.check_model(other, full_check=True)
    # The weights are the very ones, and the ranges those that images would have given.
    same_integers(other, direct.model)
    back, _ = to_scheme(
        other, {**kept, "scheme": OTHER[scheme].name, "float_nodes": direct.float_nodes}, scheme
    )
    same_integers(result.model, back)
    # A bias may have been rounded to int32 on the way, and weights that only one scheme quantizes to int8.
    reference = answers(result.model, batch)
    assert np.sum((answers(back, batch) - reference) ** 2) < 1e-3 * np.sum(reference**2)


def test_a_float_model_comes_back_as_it_is():
    model = model_of(GOLDEN["residual"].nodes)
    parts = strip(model)
    assert (parts.model, parts.symmetric, parts.front, parts.weights, parts.ranges) == (
        model,
        None,
        None,
        {},
        {},
    )
    with pytest.raises(ArtifactError, match="not quantized") as caught:
        to_scheme(model, {}, CPU)
    assert caught.value.hint


@each_scheme
def test_the_front_end_for_frames_is_kept_and_stays_float(scheme):
    model = model_of("c = Conv(x, w, b) r = Relu(c) y = Conv(r, w, b)")
    result = quantize(model, [images(4)], scheme, "minmax")
    row = Preprocessing(mean=(0.5,) * 4, std=(0.5,) * 4)
    made = with_uint8_input(result.model, row)
    made.metadata_props.add(key="edgecnn", value="{}")
    parts = strip(made)
    assert [item.name for item in parts.model.graph.input] == ["x"]
    assert parts.model.graph.input[0] == model.graph.input[0]
    assert {node.op_type for node in parts.model.graph.node} == {"Conv", "Relu"}
    assert set(parts.ranges) == {"x", "r"}
    kept = {"scheme": scheme.name, "ranges": result.ranges, "float_nodes": {}}
    frames = RNG.integers(0, 256, size=(2, 8, 8, 4)).astype(np.uint8)
    same, _ = to_scheme(made, kept, scheme)
    same_integers(made, same)
    np.testing.assert_array_equal(answers(same, frames), answers(made, frames))
    other, _ = to_scheme(made, kept, OTHER[scheme])
    assert [node.name for node in other.graph.node][:5] == [
        *(f"normalize/{step}" for step in ("cast", "scale", "shift", "layout")), "x/quantize"
    ]  # fmt: skip
    assert other.metadata_props == made.metadata_props
    assert other.graph.input == made.graph.input
    direct = with_uint8_input(quantize(model, [images(4)], OTHER[scheme], "minmax").model, row)
    np.testing.assert_allclose(answers(other, frames), answers(direct, frames), atol=0.3)


def test_a_float_model_with_a_front_end_gives_it_apart():
    model = model_of("y = Conv(x, w, b)")
    parts = strip(with_uint8_input(model, Preprocessing(mean=(0.5,) * 4, std=(0.5,) * 4)))
    assert parts.model == model and parts.front is not None and parts.symmetric is None


@each_scheme
def test_layers_left_float_by_choice_stay_float_in_the_other_scheme(scheme):
    model = model_of("c = Conv(x, w) r = Relu(c) d = Conv(r, w) s = Add(d, r) m = Relu(s) y = Conv(m, w)")
    graph, chosen = Graph(model), {"Conv3": "it is sensitive"}
    placement = place(graph, scheme, chosen)
    assert "Add" in placement.float_nodes  # it follows from the choice, and was none
    assert exclusions(graph, placement.float_nodes, scheme) == chosen
    found = quantize(model, [images(4)], scheme, "minmax").ranges
    ranges = placement.ranges({name: found[name][scheme.name] for name in placement.observed})
    made = write_qdq.insert(model, placement, ranges, scheme)
    kept = {"scheme": scheme.name, "ranges": found, "float_nodes": placement.float_nodes}
    assert to_scheme(made, kept, OTHER[scheme])[1].float_nodes["Conv3"] == "it is sensitive"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("portable", "cpu"),
        pytest.param("cpu", "openvino", marks=pytest.mark.slow),
        pytest.param("openvino", "portable", marks=pytest.mark.slow),
    ],
)
def test_an_exported_file_becomes_what_an_export_for_the_other_target_is(source, target, exported):
    options = (*SMALL, "--int8", "--target")
    paths = [exported(*options, name) for name in (source, target)]
    given, direct = (onnx.load(path) for path in paths)
    made, placement = to_scheme(given, read_manifest(paths[0]).quantization, targets.target(target).scheme)
    assert placement.float_nodes == read_manifest(paths[1]).quantization["float_nodes"]
    ours, theirs = constants(made), constants(direct)
    read = {name for node in direct.graph.node if "quantize" in node.name for name in node.input}
    for name in read & set(theirs):
        if theirs[name].dtype.kind == "f":
            # The manifest's ranges have nine digits: a scale may be its float32 neighbour.
            np.testing.assert_allclose(ours[name], theirs[name], rtol=2e-7, err_msg=name)
        elif theirs[name].dtype == np.int32:
            # Corrected for the activations of the form that it was made in: near, not the same.
            assert ours[name].shape == theirs[name].shape, name
        else:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    batch = RNG.normal(size=(4, 3, 64, 64)).astype(np.float32)
    assert compare(answers(direct, batch), answers(made, batch), "the other form").sqnr_db > 20


def test_a_range_that_the_manifest_lacks_is_named():
    result = quantize(model_of("c = Conv(x, w) y = Conv(c, w)"), [images(4)], PORTABLE, "minmax")
    ranges = {"x": result.ranges["x"], "c": {"portable": result.ranges["c"]["portable"]}}
    with pytest.raises(ArtifactError, match="'c' for the cpu scheme") as caught:
        to_scheme(result.model, {"scheme": "portable", "ranges": ranges, "float_nodes": {}}, CPU)
    assert caught.value.hint


def test_a_bias_that_is_huge_beside_its_weights_fits_the_cpu_form():
    model = model_of("c = Conv(x, w, b) r = Relu(c) y = Conv(r, w)")
    weight = np.array(constants(model)["w"])
    weight[1] = 1e-12
    Graph(model).set_constant("w", weight)
    batch = images(4)
    result = quantize(model, [batch], PORTABLE, "minmax")
    cpu, _ = to_scheme(result.model, {"scheme": "portable", "ranges": result.ranges, "float_nodes": {}}, CPU)
    np.testing.assert_allclose(answers(cpu, batch), answers(model, batch), atol=0.3)


def made_otherwise(change):
    """A file of ours in which one thing is as other tools write it."""
    model = quantize(model_of("c = Conv(x, w) y = Conv(c, w)"), [images(4)], CPU, "minmax").model
    change(model, {item.name: item for item in model.graph.initializer})
    return model


def per_tensor(model, found):
    found["Conv/weight_scale"].CopyFrom(
        numpy_helper.from_array(np.array(0.1, np.float32), "Conv/weight_scale")
    )
    found["Conv/weight_zero"].CopyFrom(numpy_helper.from_array(np.array(0, np.int8), "Conv/weight_zero"))


def asymmetric(model, found):
    found["Conv/weight_zero"].CopyFrom(numpy_helper.from_array(np.full(4, 3, np.int8), "Conv/weight_zero"))


def sixteen_bits(model, found):
    found["c_zero"].CopyFrom(numpy_helper.from_array(np.array(0, np.int16), "c_zero"))


def other_names(model, found):
    model.graph.node[0].name = "x_QuantizeLinear"


def operators(model, found):
    model.graph.node.append(helper.make_node("QLinearConv", ["c_quantized"], ["q"]))


def no_zero_point(model, found):
    del model.graph.node[0].input[2:]


def computed_scale(model, found):
    model.graph.node.insert(0, helper.make_node("Identity", ["x_scale"], ["s"]))
    model.graph.node[1].input[1] = "s"


def integers_as_input(model, found):
    model.graph.input.append(helper.make_tensor_value_info("q", TensorProto.UINT8, [1, 4, 8, 8]))
    model.graph.node[1].input[0] = "q"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (per_tensor, "one scale for all channels"),
        (asymmetric, "have a zero point"),
        (sixteen_bits, "int16"),
        (other_names, "other names"),
        (operators, "QLinearConv"),
        (no_zero_point, "no constant scale"),
        (computed_scale, "no constant scale"),
        (integers_as_input, "nothing quantizes"),
    ],
)
def test_a_foreign_file_is_refused(change, message):
    with pytest.raises(ArtifactError, match=f"not written by edgecnn: .*{message}") as caught:
        strip(made_otherwise(change))
    assert caught.value.hint
