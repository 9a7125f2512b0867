import numpy as np
import pytest
from small_layers import correlated, layer_of, on_grid

from edgecnn.quantize.repair import moments
from edgecnn.quantize.repair.moments import Moments
from edgecnn.quantize.repair.walk import Layer, LayerShape


def direct(wanted: np.ndarray, given: np.ndarray, weights: np.ndarray, matrix: np.ndarray) -> Moments:
    """One group's moments, from their definition."""
    n = weights.sum()
    lacking = (wanted.astype(np.float64) - given) @ matrix
    mean_given, mean_lacking = weights @ given / n, weights @ lacking / n
    centred, short = given - mean_given, lacking - mean_lacking
    square = (centred * weights[:, None]).T @ centred / n
    gain = (short * weights[:, None]).T @ centred / n
    return Moments(*(np.asarray(value)[None] for value in (n, mean_given, mean_lacking, square, gain)))


def assert_same(found: Moments, wanted: Moments) -> None:
    for name in Moments.__annotations__:
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-4, atol=1e-5)


def case(rng: np.random.Generator, clip=None, outputs: int = 1):
    exact = correlated(rng, 400, 5) + 0.5
    inexact = on_grid(rng, 400, 5)
    weight = rng.normal(size=(5, outputs)).astype(np.float32)
    bias = np.full(outputs, 0.3, np.float32)
    return layer_of("Gemm", weight, exact, inexact, bias, clip)


def test_moments_are_those_of_their_definition(rng):
    layer = case(rng)
    found = moments.collect(layer, moments.sample(layer))
    assert_same(found, direct(layer.exact, layer.inexact, np.ones(400), layer.weight))


def test_inputs_far_from_zero_keep_what_they_vary_by(rng, monkeypatch):
    exact = (correlated(rng, 400, 5) * 1e-2 + 1000).astype(np.float32)
    layer = layer_of("Gemm", np.ones((5, 1), np.float32), exact)
    monkeypatch.setattr(Layer, "quantized_input", lambda self, block: block)
    found = moments.collect(layer, moments.sample(layer))
    exact = exact.astype(np.float64)
    np.testing.assert_allclose(
        found.square, direct(exact, exact, np.ones(400), layer.weight).square, rtol=1e-2
    )


def test_the_input_is_quantized_first():
    exact = np.full((10, 2), 100.0, np.float32)
    layer = layer_of("Gemm", np.ones((2, 1), np.float32), exact)
    # The range ends at 4.
    np.testing.assert_allclose(moments.collect(layer, moments.sample(layer)).given, 4, rtol=0.01)


def test_positions_that_an_activation_clips_hardly_count(rng):
    layer = case(rng, clip=(0.0, 1.0), outputs=2)
    found = moments.collect(layer, moments.sample(layer))
    output = layer.exact @ layer.weight + layer.bias
    inside = np.clip(output, 0, 1)
    counts = np.abs(output - inside) <= moments._MARGIN * inside.std(axis=0)
    assert 0.1 < counts.mean() < 0.9
    for index in range(2):
        weights = np.where(counts[:, index], 1, moments._CLIPPED_WEIGHT)
        wanted = direct(layer.exact, layer.inexact, weights, layer.weight[:, index : index + 1])
        one = Moments(*(getattr(found, name)[index : index + 1] for name in Moments.__annotations__))
        assert_same(one, wanted)


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
def test_merged_parts_equal_the_whole(rng, clip, monkeypatch):
    # The activation's margin is measured on each part: without it, parts and whole are weighed alike.
    monkeypatch.setattr(moments, "_MARGIN", 0)
    layer = case(rng, clip)
    rows = moments.sample(layer)
    parts = [moments.collect(layer, part) for part in rows.split(3)]
    assert_same(moments.merge(parts), moments.collect(layer, rows))


def test_products_in_blocks_are_those_of_all_rows(rng, monkeypatch):
    layer = case(rng, clip=(0.0, 1.0), outputs=3)
    whole = moments.collect(layer, moments.sample(layer))
    monkeypatch.setattr(moments, "_BLOCK", 25 * 7)  # seven rows of 5 x 5 products
    assert_same(moments.collect(layer, moments.sample(layer)), whole)


@pytest.mark.parametrize(
    ("matrix", "rows"),
    [
        ((1, 64, 27), 4096),
        ((1, 256, 1024), 8192),
        ((1, 256, 2048), 4096),
        # Equations in the rows cost by their cube: with more inputs half of what there is room for.
        ((1, 512, 4608), 910),
        ((1000, 1, 9), 932),
    ],
)
def test_no_more_rows_repair_a_layer_than_its_equations_are_worth(matrix, rows):
    assert moments.row_count(LayerShape(matrix, clipped=False)) == rows
