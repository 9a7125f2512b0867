"""Range methods by tensor: the one that the output likes, and the asked one where it makes no difference."""

import numpy as np
import onnx
import pytest
from onnx import parser

from edgecnn.quantize import method_by_tensor
from edgecnn.quantize.effort_levels import BY_TENSOR, FITTED
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.placement.write_qdq import scale_and_zero
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.quantize.ranges import calibrate, range_methods
from edgecnn.schemes import CPU, PORTABLE

NETWORK = """
<ir_version: 10, opset_import: ["" : 18]>
small (float[N, 3, 8, 8] image) => (float[N, 4, 8, 8] out)
<float[4, 3, 1, 1] w1, float[4, 4, 1, 1] w2, float zero = {0}, float six = {6}>
{
    [first] a = Conv(image, w1)
    [clip] b = Clip(a, zero, six)
    [second] out = Conv(b, w2)
}
"""


@pytest.fixture
def model(rng) -> onnx.ModelProto:
    result = parser.parse_model(NETWORK)
    for name, shape in (("w1", (4, 3, 1, 1)), ("w2", (4, 4, 1, 1))):
        values = rng.normal(size=shape).astype(np.float32)
        result.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return result


@pytest.fixture
def images(rng) -> np.ndarray:
    """Pictures with one wild pixel, which a range from the extremes pays for everywhere else."""
    values = rng.normal(size=(16, 3, 8, 8)).astype(np.float32)
    values[0, 0, 0, 0] = 400
    return values


@pytest.mark.parametrize("scheme", [CPU, PORTABLE], ids=lambda scheme: scheme.name)
def test_a_tensor_with_a_wild_value_gets_another_method(model, images, scheme):
    quantizer = Quantizer(model, lambda: [images], scheme, "minmax")
    plain, chosen = quantizer(FITTED), quantizer(BY_TENSOR)
    assert not plain.other_methods
    assert set(chosen.other_methods) == {"image"}
    assert chosen.ranges["image"][scheme.name][1] < 100 < 400 <= plain.ranges["image"][scheme.name][1]
    assert chosen.to_json()["ranges_by_tensor"] == chosen.other_methods


def test_the_noise_is_that_of_rounding_before_and_after_a_clip(model, images, rng):
    images = images[1:] * 3
    placement = place(Graph(model), CPU)
    observers = calibrate.observe(model, placement.observed, [images])
    found = placement.ranges(
        {name: range_methods.choose(item, "minmax", symmetric=False) for name, item in observers.items()}
    )

    def rounded(values, name):
        scale, zero = scale_and_zero(*found[name], CPU)
        codes = np.clip(np.rint(values / scale) + np.float32(zero), 0, 255)
        return (codes - np.float32(zero)) * scale if name in found else values

    weights = {
        item.name: onnx.numpy_helper.to_array(item)[:, :, 0, 0] for item in model.graph.initializer[-2:]
    }

    def network(image, step):
        hidden = np.clip(np.einsum("oc,nchw->nohw", weights["w1"], step(image, "image")), 0, 6)
        return np.einsum("oc,nchw->nohw", weights["w2"], step(hidden, "b"))

    assert set(found) == {"image", "b"} and found["b"][1] == 6
    exact, inexact = network(images, lambda values, name: values), network(images, rounded)
    expected = np.sum((exact - inexact) ** 2) / np.sum(exact**2)
    noise = method_by_tensor._Rounded(model, placement, CPU, images).noise(found)
    assert noise == pytest.approx(expected, rel=0.02)


def test_where_all_methods_give_the_same_range_nothing_is_tried(model, images):
    placement = place(Graph(model), CPU)
    same = {name: dict.fromkeys(range_methods.METHODS, (0.0, 6.0)) for name in placement.observed}
    methods = method_by_tensor.choose(model, placement, same, "entropy", CPU, images)
    assert methods == dict.fromkeys(placement.observed, "entropy")
