"""Networks that ONNX Runtime runs are quantized, whatever tool wrote them and however."""

import copy

import numpy as np
import onnx
import pytest
from foreign_graphs import (
    SIDE,
    constant,
    convolution,
    decibels,
    drawn,
    head,
    images,
    model_of,
    node,
    run,
    stem,
    written,
)
from onnx import TensorProto, helper

from edgecnn.errors import ArtifactError
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.quantize.quantize_request import RequantizeRequest
from edgecnn.quantize.requantize import requantize_file
from edgecnn.runtime import load

PLAIN = model_of(stem(), head())


def with_value_info(shape):
    model = copy.deepcopy(PLAIN)
    model.graph.value_info.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, shape))
    model.graph.value_info.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, shape))
    return model


def without_input_shape():
    model = copy.deepcopy(PLAIN)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    return model


#: A network, and the side of its input if it leaves that open.
DECLARED = {
    "a batch of -1": (model_of(stem(), head(), shape=[-1, 3, SIDE, SIDE], output=[-1, 10]), None),
    "a batch of 0": (model_of(stem(), head(), shape=[0, 3, SIDE, SIDE], output=[0, 10]), None),
    "everything -1": (model_of(stem(), head(), shape=[-1] * 4, output=[-1, -1]), SIDE),
    "an unnamed batch": (model_of(stem(), head(), shape=[None, 3, SIDE, SIDE], output=[None, 10]), None),
    "no shape at all": (without_input_shape(), SIDE),
    "stale shapes inside": (with_value_info([7, 64, 5, 5]), None),
    "shapes of another rank": (with_value_info([3]), None),
    "scalars inside": (with_value_info([]), None),
    "an output of another rank": (model_of(stem(), head(), output=[1, 10, 1, 1]), None),
    "an output of another size": (model_of(stem(), head(), output=["n", 1000]), None),
    "an output without a shape": (model_of(stem(), head(), output=[]), None),
}


@pytest.mark.parametrize("name", DECLARED)
def test_shapes_that_are_declared_wrongly_do_not_matter(name):
    model, size = DECLARED[name]
    prepared = prepare(model, size)
    assert [dim.dim_value for dim in prepared.graph.input[0].type.tensor_type.shape.dim[1:]] == [
        3,
        SIDE,
        SIDE,
    ]
    assert decibels(run(PLAIN, images()), run(prepared, images())) > 100
    assert macs_by_node(prepared) == {"c1": 8 * 256 * 3, "c2": 8 * 256 * 72, "fc": 80}


@pytest.mark.parametrize("name", ["a batch of -1", "no shape at all"])
def test_such_a_file_is_quantized(name, tmp_path):
    model, size = DECLARED[name]
    assert written(model, tmp_path, size=size).parity.sqnr_db > 25
    if size is None:
        assert load(tmp_path / "float.onnx")(images()).shape == (4, 10)
    else:
        with pytest.raises(ArtifactError, match="does not say what shape its input 'x' has"):
            load(tmp_path / "float.onnx")


def test_of_a_fixed_batch_one_image_is_counted():
    fixed = model_of(stem(), head(), shape=[4, 3, SIDE, SIDE])
    assert macs_by_node(prepare(fixed)) == macs_by_node(prepare(PLAIN))


def gelu(domain, op="Gelu", more=()):
    return [node(op, ["f", *more], ["g"], name="gelu", domain=domain)]


def fused(activation, parameters=(), more=()):
    first, constants = convolution("x", "c1", "f", 3, strides=[2, 2])
    first[0].op_type, first[0].domain = "FusedConv", "com.microsoft"
    first[0].input.extend(more)
    first[0].attribute.append(helper.make_attribute("activation", activation))
    if parameters:
        first[0].attribute.append(helper.make_attribute("activation_params", list(parameters)))
    return first, constants


def fused_head(node_made):
    nodes, constants = head(result="l")
    return [*nodes, node_made], [*constants, drawn("mw", 10, 10)]


def fused_gemm():
    nodes, constants = head()
    nodes[-1].op_type, nodes[-1].domain = "FusedGemm", "com.microsoft"
    nodes[-1].attribute.append(helper.make_attribute("activation", "LeakyRelu"))
    nodes[-1].attribute.append(helper.make_attribute("activation_alpha", 0.25))
    return nodes, constants


MS = ["com.microsoft"]
MATMUL = {"name": "mm", "domain": "com.microsoft"}
#: Operators of ONNX Runtime: a network, and those that are left of them.
CONTRIB = {
    "Gelu": (model_of(stem(), (gelu("com.microsoft"), []), head("g"), domains=MS), set()),
    "BiasGelu": (
        model_of(
            stem(),
            (gelu("com.microsoft", "BiasGelu", ["gb"]), [drawn("gb", SIDE // 2)]),
            head("g"),
            domains=MS,
        ),
        set(),
    ),
    "QuickGelu": (model_of(stem(), (gelu("com.microsoft", "QuickGelu"), []), head("g"), domains=MS), set()),
    "FastGelu": (
        model_of(stem(), (gelu("com.microsoft", "FastGelu"), []), head("g"), domains=MS),
        {"FastGelu"},
    ),
    "FusedConv": (model_of(fused("Relu"), head(), domains=MS), set()),
    "FusedConv that clips": (model_of(fused("Clip", (0.0, 1.5)), head(), domains=MS), set()),
    "FusedConv of set 9": (model_of(fused("Clip", (0.0, 1.5)), head(), domains=MS, opset=9), set()),
    "FusedConv that leaks": (model_of(fused("LeakyRelu", (0.3,)), head(), domains=MS), set()),
    "FusedConv that adds": (
        model_of(
            convolution("x", "c0", "s", 3, strides=[2, 2]), fused("Relu", (), ["s"]), head(), domains=MS
        ),
        set(),
    ),
    "FusedGemm": (model_of(stem(), fused_gemm(), domains=MS), set()),
    "FusedMatMul": (
        model_of(
            stem(),
            fused_head(node("FusedMatMul", ["l", "mw"], ["y"], transB=1, alpha=0.5, **MATMUL)),
            domains=MS,
        ),
        set(),
    ),
    "FusedMatMul that turns its input": (
        model_of(
            stem(),
            fused_head(node("FusedMatMul", ["l", "mw"], ["t"], alpha=0.5, **MATMUL)),
            ([node("FusedMatMul", ["t", "l"], ["y"], transB=1, **(MATMUL | {"name": "m2"}))], []),
            shape=[4, 3, SIDE, SIDE],
            domains=MS,
        ),
        {"FusedMatMul"},
    ),
}


@pytest.mark.parametrize("name", CONTRIB)
def test_operators_of_onnx_runtime_are_written_as_standard_ones_or_stay_float(name):
    model, left = CONTRIB[name]
    batch = images()
    prepared = prepare(model)
    assert {item.op_type for item in prepared.graph.node if item.domain} == left
    assert decibels(run(model, batch), run(prepared, batch)) > 90
    assert sum(macs_by_node(prepared).values()) > 8 * 256 * 27


def test_what_stays_float_is_named_and_the_rest_is_int8(tmp_path):
    made = written(CONTRIB["FastGelu"][0], tmp_path)
    assert made.manifest.quantization["int8_mac_share"] == 1
    assert made.manifest.quantization["float_nodes"] == {"gelu": "no int8 form: FastGelu"}
    assert made.parity.sqnr_db > 25
    other = requantize_file(RequantizeRequest(made.path, tmp_path / "other.onnx", "cpu"))
    assert other.manifest.quantization["int8_mac_share"] == 1
    assert written(CONTRIB["FastGelu"][0], tmp_path, precision="float16").parity.sqnr_db > 40


def with_function(recursive=False):
    """A network whose activation is a function of its own; a recursive one has no end."""
    inner = node("twice" if recursive else "Relu", ["u"], ["v"], domain="mine" if recursive else "")
    twice = helper.make_function(
        "mine", "twice", ["u"], ["w"], [inner, node("Add", ["v", "v"], ["w"])],
        [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )  # fmt: skip
    model = model_of(
        stem(), ([node("twice", ["f"], ["g"], name="t", domain="mine")], []), head("g"), domains=["mine"]
    )
    model.functions.append(twice)
    return model


def test_functions_of_a_model_are_written_out():
    prepared = prepare(with_function())
    assert not any(item.domain for item in prepared.graph.node)
    assert decibels(run(with_function(), images()), run(prepared, images())) > 90


def centred(zeros=0.0):
    """A network that averages what a normalization has centred: its means are all but zero."""
    nodes = [node("LayerNormalization", ["f", "ones", "zeros"], ["g"], name="norm", axis=-1)]
    return model_of(
        stem(), (nodes, [constant("ones", np.ones(16)), constant("zeros", np.full(16, zeros))]), head("g")
    )


@pytest.mark.parametrize("target", ["portable", "cpu"])
def test_averages_that_are_all_but_zero(target, tmp_path):
    made = written(centred(), tmp_path, target=target)
    graph = Graph(onnx.load(made.path))
    assert graph.constant("pooled_scale") >= graph.constant("g_scale") / 130
    assert np.abs(run(made.path, images()) - run(centred(), images())).max() < 0.1


REFUSED = {
    "cannot be written out: Cycle detected": with_function(recursive=True),
    "Gelu 'gelu' of 'nobody' is no operator": model_of(
        stem(), (gelu("nobody"), []), head("g"), domains=["nobody"]
    ),
    "has a QLinearSigmoid": model_of(
        stem(), (gelu("com.microsoft", "QLinearSigmoid"), []), head("g"), domains=MS
    ),
    "one processor: Conv 'c1' is of com.microsoft.nchwc": model_of(
        (
            [node("Conv", ["x", "c1_w"], ["f"], name="c1", domain="com.microsoft.nchwc")],
            [drawn("c1_w", 8, 3, 3, 3)],
        ),
        head(),
        domains=["com.microsoft.nchwc"],
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_other_operators_are_refused_by_name(message):
    with pytest.raises(ArtifactError, match=message) as caught:
        prepare(REFUSED[message])
    assert caught.value.hint and "\n" not in str(caught.value)


def with_bias(shape):
    nodes, constants = head()
    nodes[-1].attribute.extend([helper.make_attribute("alpha", 0.5), helper.make_attribute("beta", 2.0)])
    value = np.random.default_rng(0).normal(size=shape)
    return model_of(stem(), (nodes, [constants[0], constant("fb", value)]))


def test_a_gemm_has_factors_and_a_bias_of_any_shape(tmp_path):
    for shape in ((), (1,), (1, 1), (10,), (1, 10)):
        model = with_bias(shape)
        prepared = prepare(model)
        gemm = prepared.graph.node[-1]
        assert not {"alpha", "beta"} & {item.name for item in gemm.attribute}
        assert Graph(prepared).constant(gemm.input[2]).shape == (10,)
        assert decibels(run(model, images()), run(prepared, images())) > 90
    made = written(with_bias(()), tmp_path)
    assert made.manifest.quantization["int8_mac_share"] == 1 and made.parity.sqnr_db > 25


def test_a_bias_for_each_row_stays_what_it_is():
    nodes, constants = head()
    rows = constant("fb", np.arange(40).reshape(4, 10))
    model = model_of(stem(), (nodes, [constants[0], rows]), shape=[4, 3, SIDE, SIDE])
    assert decibels(run(model, images()), run(prepare(model), images())) > 90


def test_float16_of_a_network_that_ends_in_a_softmax_is_compared_by_logits(tmp_path):
    nodes, constants = head(result="l")
    for tail in (
        [node("Softmax", ["l"], ["y"], name="softmax", axis=1)],
        [
            node("LogSoftmax", ["l"], ["p"], name="s", axis=1),
            node("Unsqueeze", ["p", "last"], ["y"], name="u"),
        ],
    ):
        model = model_of(stem(), ([*nodes, *tail], [*constants, constant("last", [2], np.int64)]))
        made = written(model, tmp_path, precision="float16")
        assert 40 < made.parity.sqnr_db < 100
        np.testing.assert_allclose(run(made.path, images()), run(model, images()), atol=0.02)


def zero_branch(side):
    """A residual branch whose last convolution is zero: its tensor is 0 for every image."""
    branch, _ = convolution("f", "z", "zeros")
    zeros = [constant("z_w", np.zeros((8, 8, 3, 3))), constant("z_b", np.full(8, -1.0))]
    added = [*branch, node("Relu", ["zeros"], ["zr"], name="zr"), node("Add", ["f", "zr"], ["s"], name="add")]
    return model_of(
        stem(), (added, zeros), convolution("s", "c3", "e"), head("e"), shape=["n", 3, side, side]
    )


def test_a_large_tensor_of_zeros(tmp_path):
    # 8 x 48 x 48 values: more than are sampled.
    made = written(zero_branch(96), tmp_path, calib_images=2, check_images=4)
    assert made.parity.sqnr_db > 15
    assert Graph(onnx.load(made.path)).constant("zr_scale") > 0
