import numpy as np
import pytest
from small_layers import correlated, layer_of

from edgecnn.quantize.repair import repair_layer
from edgecnn.quantize.repair.adaround import Settings
from edgecnn.quantize.repair.repair_layer import LayerRepair

NOTHING = {"refit": False, "scales": False, "rounding": "nearest", "bias": False}
QUICK = Settings(iterations=200, batch=128, rate=0.05)


@pytest.fixture
def layer(rng):
    """Inputs with much in common, and an input that the quantized network has got wrong in a known way."""
    exact = correlated(rng, 1500, 8)
    inexact = 0.9 * exact + 0.1 * exact[:, ::-1] + 0.05
    weight = rng.normal(size=(8, 5))
    return layer_of("Gemm", weight.astype(np.float32), exact, inexact, rng.normal(size=5).astype(np.float32))


def loss(layer, repair: LayerRepair) -> float:
    repaired = repair(layer)
    weight = repaired.weight.values * repaired.weight.scale
    bias = layer.bias if repaired.bias is None else repaired.bias
    given = layer.quantized_input(layer.inexact) @ weight + bias
    return float(np.square(given - layer.exact @ layer.weight - layer.bias).mean())


@pytest.mark.parametrize(
    "method",
    [{"refit": True}, {"bias": True}, {"scales": True}, {"rounding": "feedback"}, {"rounding": "learned"}],
    ids=str,
)
def test_each_method_runs_alone(layer, method):
    repaired = LayerRepair(**{**NOTHING, **method}, learning=QUICK)(layer)
    plain = LayerRepair(**NOTHING)(layer)
    same_values = np.array_equal(repaired.weight.values, plain.weight.values)
    same_scale = np.array_equal(repaired.weight.scale, plain.weight.scale)
    assert same_scale == (method.keys() <= {"bias", "rounding"})
    assert same_values == (method.keys() == {"bias"})
    assert (repaired.bias is not None) == (method.keys() == {"bias"})


def test_refit_and_bias_undo_a_known_error_of_the_input(layer):
    before = loss(layer, LayerRepair(**NOTHING))
    unfitted = loss(layer, LayerRepair(**{**NOTHING, "bias": True}))
    fitted = loss(layer, LayerRepair(**{**NOTHING, "bias": True, "refit": True}))
    assert unfitted < before and fitted < 0.5 * unfitted


def test_a_layer_with_too_many_inputs_is_rounded_to_nearest(layer, monkeypatch):
    monkeypatch.setattr(repair_layer, "LARGEST", 7)
    repaired, plain = LayerRepair(rounding="learned")(layer), LayerRepair(**NOTHING)(layer)
    np.testing.assert_array_equal(repaired.weight.values, plain.weight.values)
    assert repaired.bias is not None


def test_depthwise_weights_get_a_scale_and_steps_each(rng):
    weight = rng.normal(size=(4, 1, 3, 3)).astype(np.float32)
    values = np.cumsum(rng.normal(size=(20, 4, 8, 8)), axis=2).astype(np.float32) / 4
    layer = layer_of("Conv", weight, values, bias=np.zeros(4, np.float32), clip=(0, 6), group=4)
    weight = LayerRepair(refit=False, scales=True, rounding="learned", learning=QUICK)(layer).weight
    assert weight.values.shape == (4, 1, 3, 3) and weight.scale.shape == (4,) and weight.axis == 0
    restored = weight.values * weight.scale[:, None, None, None]
    assert np.abs(restored - layer.weight).max() < 0.25 * np.abs(layer.weight).max()


def test_a_transposed_convolution_stays_as_it_is(rng):
    weight = rng.normal(size=(3, 2, 2, 2)).astype(np.float32)
    repaired = LayerRepair()(layer_of("ConvTranspose", weight, np.zeros((1, 3, 4, 4), np.float32)))
    assert repaired.weight is None and repaired.bias is None


def test_a_product_with_a_matrix_is_repaired_as_the_linear_layer_that_it_is(layer, rng):
    tokens = layer.exact.reshape(300, 5, 8), layer.inexact.reshape(300, 5, 8)
    product = LayerRepair()(layer_of("MatMul", layer.weight, *tokens))
    linear = LayerRepair()(layer_of("Gemm", layer.weight, layer.exact, layer.inexact))
    assert product.weight.scale.shape == (5,) and product.weight.axis == 1
    np.testing.assert_array_equal(product.weight.values, linear.weight.values)
    np.testing.assert_array_equal(product.weight.scale, linear.weight.scale)
