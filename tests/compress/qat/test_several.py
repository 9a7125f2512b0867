"""Networks of several inputs and outputs in int8 training: each output learns from the float network's."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgecnn.compress.qat.by_float_network import deciding_output
from edgecnn.compress.qat.graph_module import GraphModule
from edgecnn.compress.qat.quantized_network import QuantizedModule
from edgecnn.compress.qat.train_quantized import trainer
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.data.builtin import digits
from edgecnn.data.open_dataset import open_dataset
from edgecnn.errors import DataError
from edgecnn.quantize.effort_levels import PLAIN
from edgecnn.quantize.graph.index import input_specs
from edgecnn.quantize.graph.simplify import simplify
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.quantize.reference import Reference
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.samples import of_images
from edgecnn.targets import CPU

GREY = Preprocessing(16, crop=1.0, mean=(0.13,), std=(0.31,))
GAIN = {"gain": (0.5, 1.0, 2.0, 1.0, 1.0, 4.0, 1.0, 0.25)}
#: Constant per batch, one for each image, and a second image.
INPUTS = {"gain": [1, 8, 1, 1], "gains": ["N", 8, 1, 1], "other": ["N", 1, 16, 16]}


def network(second: str | None, heads: tuple[str, ...], classes: int = 10) -> onnx.ModelProto:
    """A convolution, what a second input does to it, and heads: a map, and scores of classes."""
    rng = np.random.default_rng(1)
    shapes = {"w": (8, 1, 3, 3), "v": (8, 1, 3, 3), "u": (8, 8, 3, 3), "m": (2, 8, 1, 1), "f": (8, classes)}
    values = {name: rng.standard_normal(shape) / shape[1] ** 0.5 for name, shape in shapes.items()}
    # Channels of far-apart ranges, which the layer after them brings back: rounding ruins the small ones.
    spread = 2.0 ** np.linspace(-4, 4, 8)
    for name in ("w", "v"):
        values[name] *= spread.reshape(-1, 1, 1, 1)
    values["u"] /= spread.reshape(1, -1, 1, 1)
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], name="a", **pads)]
    if second == "other":
        nodes.append(helper.make_node("Conv", ["other", "v"], ["o"], name="o", **pads))
        nodes.append(helper.make_node("Add", ["a", "o"], ["b"], name="b"))
    elif second:
        nodes.append(helper.make_node("Mul", ["a", second], ["b"], name="b"))
    nodes += [
        helper.make_node("Relu", ["b" if second else "a"], ["r"], name="r"),
        helper.make_node("Conv", ["r", "u"], ["c"], name="c", **pads),
        helper.make_node("Relu", ["c"], ["d"], name="d"),
        helper.make_node("Conv", ["d", "m"], ["map"], name="map"),
        helper.make_node("GlobalAveragePool", ["d"], ["p"], name="p"),
        helper.make_node("Flatten", ["p"], ["q"], name="q"),
        helper.make_node("Gemm", ["q", "f"], ["scores"], name="scores"),
    ]
    given = {"x": ["N", 1, 16, 16], **({second: INPUTS[second]} if second else {})}
    made = {"map": ["N", 2, 16, 16], "scores": ["N", classes]}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in given.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, made[name]) for name in heads],
        constants,
    )
    return simplify(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9))


def constants_of(second):
    return {second: GAIN["gain"]} if second in ("gain", "gains") else {}


@pytest.fixture(scope="module")
def images():
    return prepare.batch(GREY, digits()[0][:96])


@pytest.mark.parametrize("second", [None, *INPUTS])
def test_the_graph_in_training_computes_every_output(second, images):
    model = network(second, ("map", "scores"))
    wanted = Reference.of(model, of_images(images[:8], input_specs(model), constants_of(second)))
    given = GraphModule(model, constants=constants_of(second))(torch.from_numpy(images[:8]))
    for item in wanted.outputs:
        np.testing.assert_allclose(given[item.name].detach().numpy(), item.values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("second", "heads"), [("gain", ("map", "scores")), ("other", ("map",))])
def test_training_brings_every_output_nearer_to_float(second, heads, images):
    model, constants = network(second, heads), constants_of(second)
    samples = of_images(images, input_specs(model), constants)
    start = Quantizer(model, lambda: [samples[:32]], CPU)(PLAIN)
    options = TrainOptions(epochs=2, batch=32, augmentation="none", warmup=None, validation=0.0)
    of = trainer(open_dataset("digits", seed=0, validation=0.0), options)
    trained = of(model, GREY, constants)(start)
    reference = Reference.of(model, samples[32:])
    before, after = (reference.parity(item.model, "int8") for item in (start, trained))
    for left, right in zip(before.outputs, after.outputs, strict=True):
        assert right.sqnr_db > left.sqnr_db + 1, left.name
    module = QuantizedModule(trained, constants)(torch.from_numpy(images[32:]))
    assert deciding_output(module, 10) == ("scores" if "scores" in heads else None)


def test_scores_of_other_classes_alone_are_refused(images):
    of = trainer(open_dataset("digits", seed=0, validation=0.0), TrainOptions(validation=0.0))
    with pytest.raises(DataError, match="the network has 7"):
        of(network(None, ("scores",), classes=7), GREY, {})
