import numpy as np
import pytest
from small_layers import layer_of, on_grid

from edgecnn.quantize.repair import bias, moments


def corrected(layer, weight):
    matrix = layer.view.as_matrix(weight).astype(np.float64)
    return bias.correct(layer, matrix, moments.sample(layer))


def test_a_constant_offset_of_the_input_is_taken_out_exactly(rng):
    exact = on_grid(rng, 300, 5) / 2
    weight, old = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    step = np.float32(8 / 127)
    exact = np.rint(exact / step) * step
    layer = layer_of("Gemm", weight, exact, exact + step, old)
    np.testing.assert_allclose(corrected(layer, weight), old - step * weight.sum(0), atol=1e-5)


@pytest.mark.parametrize("group", [1, 4])
def test_the_mean_of_the_output_is_that_of_the_float_network(rng, group):
    exact = on_grid(rng, 2, 4, 6, 6)
    weight = rng.normal(size=(8, 4 // group, 3, 3)).astype(np.float32)
    old = rng.normal(size=8).astype(np.float32)
    layer = layer_of("Conv", weight, exact, bias=old, group=group)
    rounded = np.round(weight, 1)
    new = corrected(layer, rounded)
    rows = moments.sample(layer).wanted
    means = [
        (rows @ layer.view.as_matrix(values).transpose(0, 2, 1)).mean(1).ravel() + offset
        for values, offset in ((weight, old), (rounded, new))
    ]
    np.testing.assert_allclose(*means, atol=1e-4)


def test_only_positions_that_an_activation_leaves_alone_count():
    """Half the positions lie far beyond the bound; the error there is another, and must not matter."""
    exact = np.zeros((200, 2), np.float32)
    exact[:100, 0] = np.linspace(-1, 1, 100)
    exact[100:, 1] = 3.5
    weight = np.array([[1.0], [10.0]], np.float32)
    rounded = np.array([[1.0], [11.0]], np.float32)
    layer = layer_of("Gemm", weight, exact, bias=np.zeros(1, np.float32), clip=(-6, 6))
    error = layer.quantized_input(exact)[:100, 0].mean() - exact[:100, 0].mean()
    np.testing.assert_allclose(corrected(layer, rounded), [-error], atol=1e-5)


def test_a_layer_without_a_bias_is_refused(rng):
    layer = layer_of("Gemm", np.ones((2, 1), np.float32), on_grid(rng, 10, 2))
    with pytest.raises(ValueError, match="no bias"):
        corrected(layer, layer.weight)
