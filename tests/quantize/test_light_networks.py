"""Networks of 2017 that come with the onnx package, as Caffe2 wrote them, with weights drawn here."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from rewrites import run, same

from edgecnn.quantize.graph.opset import upgrade
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.quantizer import quantize
from edgecnn.schemes import CPU

FOLDER = Path(onnx.__file__).parent / "backend/test/data/light"
NAMES = ("shufflenet", "squeezenet")
SLOW = ("densenet121", "inception_v1", "inception_v2", "resnet50", "bvlc_alexnet", "vgg19", "zfnet512")
#: What a network of 2017 holds that is gone afterwards.
GONE = {"Dropout", "Sum", "ConstantOfShape", "Unsqueeze", "Mul", "Identity", "Constant"}


def drawn(name: str) -> onnx.ModelProto:
    """The network with random weights: the file's own, all the same number, make all images the same."""
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    rng = np.random.default_rng(0)
    shapes = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        shape = tuple(shapes[node.input[0]].tolist())
        if len(shape) == 1:
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(size=shape, scale=np.sqrt(2 / np.prod(shape[1:])))
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), node.output[0]))
        model.graph.input.append(onnx.helper.make_tensor_value_info(node.output[0], 1, shape))
    if nodes[-1].op_type == "Softmax":
        # A network with random weights is sure of itself: only what comes before the softmax can differ.
        outputs = [onnx.helper.make_tensor_value_info(nodes[-1].input[0], 1, None), *model.graph.output]
        del model.graph.output[:]
        model.graph.output.extend(outputs)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def images(count: int) -> np.ndarray:
    """Patches, each image brighter than the one before: of fine noise a deep network sees only the mean."""
    patches = np.random.default_rng(1).normal(size=(count, 3, 7, 7)).astype(np.float32)
    return np.kron(patches * (1 + np.arange(count)[:, None, None, None]), np.ones((32, 32))).astype(
        np.float32
    )


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_of_2017_is_prepared_and_quantized(name):
    model = drawn(name)
    assert model.opset_import[0].version < 13 and len(model.graph.input) > 1
    prepared = prepare(model)
    onnx.checker.check_model(prepared, full_check=True)
    assert prepared.opset_import[0].version >= 13 and len(prepared.graph.input) == 1
    assert not GONE & {node.op_type for node in prepared.graph.node}
    names = [node.name for node in prepared.graph.node]
    assert all(names) and len(set(names)) == len(names)
    assert same(model, prepared, images(1), rtol=1e-5)
    assert not same(model, prepared_differently(prepared), images(1))

    calibration = [image[None] for image in images(3)]
    expected = np.concatenate([run(prepared, image) for image in calibration])
    assert expected.std(axis=0).max() > 1e-3 * np.abs(expected).max()
    quantized = quantize(prepared, calibration, CPU)
    # A first layer of 3 to 24 channels stays float.
    assert quantized.int8_mac_share > 0.93
    onnx.checker.check_model(quantized.model, full_check=True)
    assert run(quantized.model, calibration[0]).shape == expected[:1].shape


def prepared_differently(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network with one weight tensor negated."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    weight = next(item for item in other.graph.initializer if len(item.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    return other


def test_onnx_runtime_takes_these_files_as_they_are_so_the_original_is_a_reference():
    model = drawn("squeezenet")
    np.testing.assert_allclose(run(model, images(1)), run(upgrade(model), images(1)), rtol=1e-4)


def test_preparing_twice_gives_the_same_bytes():
    first, second = (prepare(drawn("squeezenet")).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
