import numpy as np
import pytest

from edgecnn.quantize.placement.integer_weights import quantize_bias, quantize_weight

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_each_channel_is_within_half_a_step_of_its_own_scale(axis):
    weight = (RNG.normal(size=(6, 5, 3)) * np.array([1, 10, 100])).astype(np.float32)
    quantized = quantize_weight(weight, axis % 3)
    shape = [-1 if index == axis % 3 else 1 for index in range(3)]
    scale = quantized.scale.reshape(shape)
    assert np.all(np.abs(weight - quantized.values * scale) <= 0.5001 * scale)
    assert np.abs(quantized.values).max() == 127


def test_a_channel_of_zeros_gets_a_scale_that_works():
    weight = np.zeros((2, 4), np.float32)
    weight[1] = 1
    quantized = quantize_weight(weight, 0)
    assert np.all(quantized.scale > 0) and np.all(quantized.values[0] == 0)


def test_the_bias_of_a_channel_with_tiny_weights_still_fits_int32():
    weight = np.array([[1e-12], [1.0]], np.float32)
    bias = np.array([5.0, -5.0], np.float32)
    quantized = quantize_weight(weight, 0, bias, input_scale=0.01)
    values, scale = quantize_bias(bias, 0.01, quantized.scale)
    np.testing.assert_allclose(values * scale.astype(np.float64), bias, rtol=1e-3)
