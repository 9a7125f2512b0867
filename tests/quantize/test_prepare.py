"""Small graphs: each form of an old operator set, each fold, and each model that is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from rewrites import run, same

from edgecnn.errors import ArtifactError, InvalidValueError
from edgecnn.quantize.graph.load_model import load
from edgecnn.quantize.graph.opset import upgrade
from edgecnn.quantize.graph.prepare import prepare

RNG = np.random.default_rng(0)
SHAPE = (2, 4, 8, 8)
IMAGES = RNG.normal(size=SHAPE).astype(np.float32)
PER_CHANNEL = RNG.uniform(0.5, 1.5, 4).astype(np.float32)
OTHERS = RNG.uniform(0.5, 1.5, 4).astype(np.float32)


def weights(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


CONSTANTS = {
    "w": weights(4, 4, 1, 1), "c": PER_CHANNEL, "d": OTHERS, "m": RNG.normal(size=4).astype(np.float32),
    "g": weights(10, 256), "b": weights(10), "per": PER_CHANNEL.reshape(4, 1, 1), "one": np.float32([2.0]),
    "shift": OTHERS.reshape(1, 4, 1, 1), "scales": np.float32([1, 1, 2, 2]), "row": weights(1, 10),
    "g2": weights(10, 4), "axes": np.int64([2, 3]), "any": np.int64([2, -1]), "negative": np.int64([-1, -2]),
}  # fmt: skip
Node = tuple[str, str, str, dict]


def model_of(nodes: list[Node], opset: int = 18, shape=SHAPE, ir: int = 8, **more) -> onnx.ModelProto:
    """A model of nodes (operator, inputs, output, attributes); the last one's output is the model's."""
    made = [helper.make_node(op, given.split(), [result], **options) for op, given, result, options in nodes]
    known = {**CONSTANTS, **more}
    used = {name: np.asarray(known[name]) for node in made for name in node.input if name in known}
    tensors = [numpy_helper.from_array(value, name) for name, value in used.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    if ir < 4:
        inputs += [helper.make_tensor_value_info(item.name, item.data_type, item.dims) for item in tensors]
    output = helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, None)
    graph = helper.make_graph(made, "g", inputs, [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


CONV: Node = ("Conv", "x w", "a", {"kernel_shape": [1, 1]})
CONVOLVED = np.einsum("oi,nihw->nohw", CONSTANTS["w"][:, :, 0, 0], IMAGES)


def stretched(value: np.ndarray) -> np.ndarray:
    return value.reshape(4, 1, 1)


EPSILON = 1e-5
OLD = {
    # name: (operator set, node after the convolution, what it computes)
    "add with broadcast": (
        6, ("Add", "a c", "y", {"broadcast": 1, "axis": 1}), CONVOLVED + stretched(PER_CHANNEL),
    ),
    "sub with broadcast": (
        6, ("Sub", "a c", "y", {"broadcast": 1, "axis": 1}), CONVOLVED - stretched(PER_CHANNEL),
    ),
    "div of set 1": (
        1, ("Div", "a c", "y", {"broadcast": 1, "axis": 1, "consumed_inputs": [0, 0]}),
        CONVOLVED / stretched(PER_CHANNEL),
    ),
    "a stretched constant twice": (6, ("Mul", "a one", "y", {"broadcast": 1}), CONVOLVED * 2),
    "relu of set 1": (1, ("Relu", "a", "y", {"consumed_inputs": [0]}), np.maximum(CONVOLVED, 0)),
    "dropout of set 1": (1, ("Dropout", "a", "y", {"is_test": 1, "consumed_inputs": [0]}), CONVOLVED),
    "dropout of set 6": (6, ("Dropout", "a", "y", {"is_test": 1, "ratio": 0.3}), CONVOLVED),
    "batch normalization of set 1": (
        1, ("BatchNormalization", "a c d m c", "y", {"is_test": 1, "spatial": 1, "consumed_inputs": [0] * 5}),
        (CONVOLVED - stretched(CONSTANTS["m"])) * stretched(PER_CHANNEL / np.sqrt(PER_CHANNEL + EPSILON))
        + stretched(OTHERS),
    ),
    "batch normalization of set 7": (
        7, ("BatchNormalization", "a c d m c", "y", {"spatial": 1}),
        (CONVOLVED - stretched(CONSTANTS["m"])) * stretched(PER_CHANNEL / np.sqrt(PER_CHANNEL + EPSILON))
        + stretched(OTHERS),
    ),
    "reshape by an attribute": (1, ("Reshape", "a", "y", {"shape": [2, -1]}), CONVOLVED.reshape(2, -1)),
    "cast by a name": (1, ("Cast", "a", "y", {"to": "FLOAT"}), CONVOLVED),
    "concat without an axis": (1, ("Concat", "a a", "y", {}), np.concatenate([CONVOLVED] * 2, 1)),
    "pad of set 1": (
        1, ("Pad", "a", "y", {"paddings": [0, 0, 1, 1, 0, 0, 1, 1]}),
        np.pad(CONVOLVED, [(0, 0), (0, 0), (1, 1), (1, 1)]),
    ),
    "prelu of set 6": (
        6, ("PRelu", "a c", "y", {}), np.where(CONVOLVED < 0, CONVOLVED * stretched(PER_CHANNEL), CONVOLVED),
    ),
    "clip by attributes": (6, ("Clip", "a", "y", {"min": 0.0, "max": 0.5}), np.clip(CONVOLVED, 0, 0.5)),
    "upsample of set 1": (
        1, ("Upsample", "a", "y", {"height_scale": 2.0, "width_scale": 2.0}),
        CONVOLVED.repeat(2, 2).repeat(2, 3),
    ),
    "upsample by a constant": (9, ("Upsample", "a scales", "y", {}), CONVOLVED.repeat(2, 2).repeat(2, 3)),
    "sum": (6, ("Sum", "a a x", "y", {}), 2 * CONVOLVED + IMAGES),
    "softmax over all that follows": (
        9, ("Softmax", "a", "y", {}),
        (lambda e: e / e.sum((1, 2, 3), keepdims=True))(np.exp(CONVOLVED)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_an_old_operator_set_is_upgraded(name):
    opset, node, expected = OLD[name]
    model = model_of([CONV, node], opset, ir=3)
    upgraded = upgrade(model)
    assert upgraded.opset_import[0].version == 18 and upgraded.ir_version >= 4
    assert [value.name for value in upgraded.graph.input] == ["x"]
    np.testing.assert_allclose(run(upgraded, IMAGES), expected, rtol=1e-4, atol=1e-5)
    prepared = prepare(model)
    onnx.checker.check_model(prepared, full_check=True)
    np.testing.assert_allclose(run(prepared, IMAGES), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("opset", [9, 10, 11])
def test_an_image_is_enlarged_as_the_old_operator_did(opset):
    kind, inputs = ("Upsample", "a scales") if opset < 10 else ("Resize", "a scales")
    if opset == 11:
        inputs = "a empty scales"
    model = model_of([CONV, (kind, inputs, "y", {"mode": "linear"})], opset, empty=np.zeros(0, np.float32))
    assert same(model, prepare(model), IMAGES, rtol=1e-5)


def test_outputs_of_training_that_nobody_reads_do_not_crash_the_converter():
    model = model_of([CONV, ("BatchNormalization", "a c d m c", "y", {})], 8, ir=3)
    model.graph.node[1].output.extend(["", "", "saved_mean", "saved_variance"])
    assert np.all(np.isfinite(run(prepare(model), IMAGES)))


def test_a_gemm_of_set_6_and_a_linear_layer_are_prepared():
    nodes = [CONV, ("Flatten", "a", "f", {}), ("Gemm", "f g b", "y", {"broadcast": 1, "transB": 1})]
    model = model_of(nodes, 6, ir=3)
    expected = CONVOLVED.reshape(2, -1) @ CONSTANTS["g"].T + CONSTANTS["b"]
    np.testing.assert_allclose(run(prepare(model), IMAGES), expected, rtol=1e-4, atol=1e-5)


FOLDED = {
    # name: (nodes, operators that are left)
    "batch normalization": ([CONV, ("BatchNormalization", "a c d m c", "y", {})], ["Conv"]),
    "factor and shift": ([CONV, ("Mul", "a per", "e", {}), ("Add", "shift e", "y", {})], ["Conv"]),
    "all together": (
        [
            CONV, ("BatchNormalization", "a c d m c", "e", {}), ("Mul", "per e", "f", {}),
            ("Sub", "f shift", "h", {}), ("Div", "h one", "y", {}),
        ],
        ["Conv"],
    ),
    "after a linear layer": (
        [
            ("GlobalAveragePool", "x", "p", {}), ("Flatten", "p", "f", {}),
            ("Gemm", "f g2 b", "e", {"transB": 1}),
            ("Mul", "e row", "h", {}),
            ("BatchNormalization", "h b10 b10 b10 v10", "y", {}),
        ],
        ["GlobalAveragePool", "Flatten", "Gemm"],
    ),
    "a normalization before the convolution": (
        [
            ("BatchNormalization", "x c d m c", "e", {}), ("Mul", "e per", "f", {}),
            ("Add", "f shift", "h", {}), ("Conv", "h w", "y", {}),
        ],
        ["BatchNormalization", "Conv"],
    ),
    "not a factor per column": ([CONV, ("Mul", "a column", "y", {})], ["Conv", "Mul"]),
    "not what is read twice": (
        [CONV, ("Mul", "a per", "e", {}), ("Add", "e a", "y", {})], ["Conv", "Mul", "Add"],
    ),
    "weights that two layers share": (
        [CONV, ("Mul", "a per", "e", {}), ("Conv", "e w", "y", {})], ["Conv", "Conv"],
    ),
    "identity and dropout": (
        [CONV, ("Identity", "a", "e", {}), ("Dropout", "e", "f", {}), ("Relu", "f", "y", {})],
        ["Conv", "Relu"],
    ),
    "a mean": ([CONV, ("ReduceMean", "a axes", "y", {})], ["Conv", "GlobalAveragePool"]),
    "a flat mean": (
        [CONV, ("ReduceMean", "a negative", "y", {"keepdims": 0})], ["Conv", "GlobalAveragePool", "Flatten"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_what_can_be_folded_is_and_nothing_else(name):
    nodes, left = FOLDED[name]
    more = {"column": weights(8), "b10": weights(10), "v10": np.ones(10, np.float32)}
    model = model_of(nodes, **more)
    prepared = prepare(model)
    assert [node.op_type for node in prepared.graph.node] == left
    assert same(model, prepared, IMAGES, rtol=1e-5)
    names = [node.name for node in prepared.graph.node]
    assert all(names) and len(set(names)) == len(names)


def test_the_metadata_and_the_input_model_stay_as_they_are():
    model = model_of([CONV, ("Identity", "a", "y", {})], 9, ir=3)
    model.metadata_props.add(key="author", value="somebody")
    before = model.SerializeToString(deterministic=True)
    assert prepare(model).metadata_props[0].value == "somebody"
    assert model.SerializeToString(deterministic=True) == before


def test_the_size_of_an_open_input_is_given():
    model = model_of([CONV, ("GlobalAveragePool", "a", "y", {})], shape=("n", 4, "h", "w"))
    with pytest.raises(InvalidValueError) as caught:
        prepare(model)
    assert "`size`" in caught.value.hint
    dimensions = prepare(model, size=8).graph.input[0].type.tensor_type.shape.dim
    assert [item.dim_value for item in dimensions][1:] == [4, 8, 8] and dimensions[0].dim_param == "n"
    fixed = model_of([CONV, ("Relu", "a", "y", {})])
    assert prepare(fixed, size=8)
    with pytest.raises(InvalidValueError, match="8 x 8, not 9 x 9"):
        prepare(fixed, size=9)


def with_second_input(model: onnx.ModelProto) -> onnx.ModelProto:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))
    return model


def with_input_type(kind: int) -> onnx.ModelProto:
    model = model_of([("Cast", "x", "z", {"to": 1}), ("Conv", "z w", "y", {})])
    model.graph.input[0].type.tensor_type.elem_type = kind
    return model


def with_output_type(kind: int) -> onnx.ModelProto:
    model = model_of([CONV, ("ArgMax", "a", "y", {})])
    model.graph.output[0].type.tensor_type.elem_type = kind
    return model


def with_branches() -> onnx.ModelProto:
    model = model_of([CONV, ("ReduceSum", "a", "s", {"keepdims": 0}), ("Cast", "s", "t", {"to": 9})])
    then, other = (
        helper.make_graph(
            [helper.make_node(kind, ["a"], ["z"])], "b", [], [helper.make_tensor_value_info("z", 1, None)]
        )
        for kind in ("Relu", "Neg")
    )
    model.graph.node.append(helper.make_node("If", ["t"], ["y"], then_branch=then, else_branch=other))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, None))
    return model


REFUSED = {
    "QuantizeLinear": lambda: model_of([CONV, ("QuantizeLinear", "a one", "y", {})]),
    "float16": lambda: with_input_type(TensorProto.FLOAT16),
    "the input 'mask' has 1 dimensions": lambda: with_second_input(model_of([CONV])),
    "uint8": lambda: with_input_type(TensorProto.UINT8),
    "2 dimensions": lambda: model_of([("Gemm", "x g", "y", {"transB": 1})], shape=(1, 256)),
    "no float32 output": lambda: with_output_type(TensorProto.INT64),
    "no convolutional network": lambda: model_of([("Relu", "x", "y", {})]),
    "number of channels": lambda: model_of(
        [("Relu", "x", "z", {}), ("Conv", "z w", "y", {})], shape=(1, "c", 8, 8)
    ),
    "decides while it runs: If": with_branches,
    "Crop '.*' is no standard operator": lambda: model_of([CONV, ("Crop", "a", "y", {})], 1, ir=3),
    "Tile .* of operator set 1": lambda: model_of([CONV, ("Tile", "a one one", "y", {})], 1, ir=3),
    "normalizes every pixel": lambda: model_of(
        [CONV, ("BatchNormalization", "a c d m c", "y", {"spatial": 0})], 7, ir=3
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_model_that_cannot_be_quantized_is_refused_in_one_line(message):
    with pytest.raises(ArtifactError, match=message) as caught:
        prepare(REFUSED[message]())
    assert "\n" not in str(caught.value) and caught.value.hint


def test_a_file_is_loaded_with_the_weights_beside_it(tmp_path):
    model, path = model_of([CONV, ("Relu", "a", "y", {})]), tmp_path / "m.onnx"
    expected = run(model, IMAGES)
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    np.testing.assert_allclose(run(prepare(load(path).model), IMAGES), expected, rtol=1e-5, atol=1e-6)
    (tmp_path / "weights").unlink()
    with pytest.raises(ArtifactError, match="weights in another file"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"no model at all", "cut"], ids=["empty", "text", "cut"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "m.onnx"
    whole = model_of([CONV]).SerializeToString()
    path.write_bytes(whole[: len(whole) // 2] if content == "cut" else content)
    with pytest.raises(ArtifactError):
        load(path)
    with pytest.raises(ArtifactError, match="not there"):
        load(tmp_path / "other.onnx")


def test_weights_over_two_gigabytes_are_refused():
    model = model_of([CONV])
    model.graph.initializer[0].dims[:] = [2**15, 2**14, 1, 1]  # what it says is enough to refuse it
    with pytest.raises(ArtifactError, match=r"2.0 GB"):
        prepare(model)


def test_the_reference_implementation_agrees_too():
    model = prepare(model_of([CONV, ("BatchNormalization", "a c d m c", "e", {}), ("Relu", "e", "y", {})]))
    np.testing.assert_allclose(
        ReferenceEvaluator(model).run(None, {"x": IMAGES})[0], run(model, IMAGES), rtol=1e-4, atol=1e-5
    )
