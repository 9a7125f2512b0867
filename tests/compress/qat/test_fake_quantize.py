"""Learned steps: the values of QuantizeLinear, the gradients of LSQ and LSQ+, scales that stay positive."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgecnn.compress.qat.fake_quantize import ActivationQuantizer, BiasQuantizer, WeightQuantizer
from edgecnn.quantize.placement import write_qdq
from edgecnn.quantize.placement.integer_weights import quantize_bias, quantize_weight
from edgecnn.schemes import CPU, PORTABLE

LIMITS = {"portable": (-128, 127), "cpu": (0, 255)}


def quantizer(low, high, scheme, width=None):
    scale, zero = write_qdq.scale_and_zero(low, high, scheme)
    return ActivationQuantizer(float(scale), int(zero), *LIMITS[scheme.name], scheme.symmetric, width)


@pytest.mark.parametrize(("low", "high"), [(-0.375, 1.0), (0.0, 6.0), (-3.0, 0.0), (-8.0, 8.0)])
@pytest.mark.parametrize("scheme", [PORTABLE, CPU], ids=lambda scheme: scheme.name)
def test_values_are_those_of_quantize_linear_to_the_bit(low, high, scheme, rng):
    learned = quantizer(low, high, scheme)
    scale, zero = write_qdq.scale_and_zero(low, high, scheme)
    # Ties, values beyond both ends, and others.
    ties = (np.arange(-300, 300) + 0.5).astype(np.float32) * scale
    x = np.concatenate([ties, rng.normal(scale=3, size=2000).astype(np.float32)]).reshape(4, -1)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.asarray(value), name) for value, name in ((scale, "s"), (zero, "z"))
    ]
    ends = [helper.make_tensor_value_info(name, 1, [4, None]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], constants),
        opset_imports=[helper.make_opsetid("", 19)],
    )
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_array_equal(learned(torch.from_numpy(x)).detach().numpy(), wanted)


@pytest.mark.parametrize(("low", "high"), [(-0.375, 1.0), (0.0, 6.0), (-8.0, 8.0)])
@pytest.mark.parametrize("scheme", [PORTABLE, CPU], ids=lambda scheme: scheme.name)
def test_the_range_gives_back_scale_and_zero_point(low, high, scheme):
    learned = quantizer(low, high, scheme)
    with torch.no_grad():
        for parameter in learned.parameters():
            parameter.add_(0.3)
    scale, zero = write_qdq.scale_and_zero(*learned.ends(), scheme)
    assert scale == learned.scale.detach().numpy()
    assert int(zero) == int(learned.zero(learned.scale, learned.low))


def test_gradients_of_a_symmetric_range_are_those_of_lsq():
    """Esser et al. 2020, equations 3 and 5, with s = 0.5: x / s = 1.2, -2.7, 300 and -300."""
    learned = quantizer(-63.5, 63.5, PORTABLE)
    x = torch.tensor([[0.6, -1.35, 150.0, -150.0]], requires_grad=True)
    upstream = torch.tensor([[1.0, 2.0, 0.25, 0.125]])
    learned(x).backward(upstream)
    assert x.grad.tolist() == [[1.0, 2.0, 0.0, 0.0]]
    by_scale = (1 - 1.2) * 1 + (-3 + 2.7) * 2 + 127 * 0.25 - 128 * 0.125
    # d/d log s = s d/ds; the scale of the gradient is 1 / sqrt(values of an image * largest integer).
    assert float(learned.log_scale.grad) == pytest.approx(0.5 * by_scale / np.sqrt(4 * 127), rel=1e-5)


def test_gradients_of_an_asymmetric_range_are_those_of_lsq_plus():
    """Bhalgat et al. 2020, section 3.1: the offset is the low end, -10 steps of 0.5."""
    learned = quantizer(-5.0, 122.5, CPU)
    x = torch.tensor([[0.6, -0.85, 150.0, -150.0]], requires_grad=True)
    upstream = torch.tensor([[1.0, 2.0, 0.25, 0.125]])
    learned(x).backward(upstream)
    assert x.grad.tolist() == [[1.0, 2.0, 0.0, 0.0]]
    by_scale = (1 - 1.2) * 1 + (-2 + 1.7) * 2 + 255 * 0.25 + 0 * 0.125
    by_low = 0.25 + 0.125
    share = 1 / np.sqrt(4 * 255)
    assert float(learned.log_scale.grad) == pytest.approx(0.5 * by_scale * share, rel=1e-5)
    assert float(learned.log_low.grad) == pytest.approx(-5.0 * by_low * share, rel=1e-5)


def test_beyond_the_range_the_scale_has_the_slope_of_the_function_itself():
    """There no rounding is passed straight through, so finite differences apply."""
    learned = quantizer(-8.0, 8.0, PORTABLE)
    x = torch.tensor([[20.0, -30.0, 9.0]])
    learned(x).sum().backward()
    values = []
    for shift in (1e-3, -1e-3):
        with torch.no_grad():
            learned.log_scale.fill_(shift)
            values.append(float(learned(x).double().sum()))
    slope = (values[0] - values[1]) / 2e-3
    assert float(learned.log_scale.grad) * np.sqrt(3 * 127) == pytest.approx(slope, rel=1e-3)


def test_a_large_step_downhill_leaves_a_scale_positive():
    learned = quantizer(0.0, 1.0, CPU)
    optimizer = torch.optim.SGD(learned.parameters(), lr=1e4)
    learned(torch.full((1, 8), 0.3)).sum().backward()
    learned.log_scale.grad.abs_()
    optimizer.step()
    assert 0 <= float(learned.scale.detach()) < 1e-3


def test_a_range_that_starts_at_zero_goes_on_doing_so():
    learned = quantizer(0.0, 6.0, CPU)
    assert learned.log_low is None and learned.ends()[0] == 0.0


def test_a_range_does_not_become_wider_than_the_clip_before_it():
    learned = quantizer(0.0, 4.0, CPU, width=6.0)
    with torch.no_grad():
        learned.log_scale.fill_(2.0)
    assert learned.ends()[1] == pytest.approx(6.0)
    assert float(learned.log_scale) == pytest.approx(np.log(1.5))


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_start_as_the_exporter_rounds_them(axis, rng):
    weight = rng.standard_normal((3, 4, 2, 2)).astype(np.float32)
    wanted = quantize_weight(weight, axis)
    learned = WeightQuantizer(torch.from_numpy(weight), torch.from_numpy(wanted.scale), axis)
    np.testing.assert_array_equal(learned.integers(), wanted.values)
    shape = [-1 if index == axis else 1 for index in range(4)]
    np.testing.assert_array_equal(learned().detach(), wanted.values * wanted.scale.reshape(shape))


def test_each_output_channel_learns_its_own_step():
    """Channels of 2 values, steps 1 and 0.5: inside round(v) - v, and 127 beyond the end."""
    weight = torch.tensor([[1.2, 3.0], [100.0, 0.1]])
    learned = WeightQuantizer(weight, torch.tensor([1.0, 0.5]), 0)
    learned().sum().backward()
    share = 1 / np.sqrt(2 * 127)
    wanted = [1.0 * (1 - 1.2) * share, 0.5 * (127 + (0 - 0.2)) * share]
    assert learned.log_scale.grad.tolist() == pytest.approx(wanted, rel=1e-4)
    assert learned.weight.grad.tolist() == [[1.0, 1.0], [0.0, 1.0]]


def test_biases_are_rounded_as_the_exporter_rounds_them(rng):
    bias = rng.standard_normal(3).astype(np.float32)
    weight = WeightQuantizer(torch.ones(3, 2), torch.tensor([0.5, 0.25, 0.125]), 0)
    source = quantizer(0.0, 6.0, CPU)
    learned = BiasQuantizer(torch.from_numpy(bias), source, weight)
    values, scale = quantize_bias(bias, float(source.scale), weight.scale.detach().numpy())
    np.testing.assert_allclose(learned().detach().numpy(), values * scale, rtol=1e-6)
    assert np.abs(learned().detach().numpy() - bias).max() > 1e-4, "the steps are wide enough to show"
    learned().sum().backward()
    assert learned.bias.grad.tolist() == [1.0, 1.0, 1.0]
    assert weight.log_scale.grad is None and source.log_scale.grad is None
