import math

import numpy as np
import pytest

from edgecnn.errors import DataError, UnknownNameError
from edgecnn.quantize.observers import BINS, SAMPLES, Observer
from edgecnn.quantize.ranges import METHODS, choose


def observe(*batches) -> Observer:
    observer = Observer("t")
    for batch in batches:
        observer.update(np.asarray(batch, np.float32))
    return observer


RNG = np.random.default_rng(0)


def test_extremes_are_exact_however_large_the_batch():
    values = RNG.normal(size=5 * SAMPLES).astype(np.float32)
    values[12345], values[54321] = 77.0, -55.0
    observer = observe(values)
    assert (observer.minimum, observer.maximum) == (-55.0, 77.0)
    assert observer.counts[-1] + observer.counts[BINS // 2 :].sum() > 0


def test_the_histogram_counts_every_value_of_a_small_batch():
    values = RNG.normal(size=1000)
    values[:100] = 0
    observer = observe(values)
    assert observer.counts.sum() == 900 and observer.zeros == 100
    expected, _ = np.histogram(values[100:], BINS, (-observer.reach, observer.reach))
    # Values within rounding of an edge may fall on either side.
    assert np.abs(np.cumsum(observer.counts) - np.cumsum(expected)).max() <= 2


def test_growing_keeps_every_count_and_its_place():
    small, large = RNG.normal(size=2000), RNG.normal(size=2000) * 100
    grown, direct = observe(small, large), observe(large, small)
    assert grown.reach == direct.reach
    assert grown.counts.sum() == direct.counts.sum() == 4000
    assert np.abs(np.cumsum(grown.counts) - np.cumsum(direct.counts)).max() <= 4


def test_memory_does_not_grow_with_the_batches():
    observer = observe(RNG.normal(size=1000))
    size = observer.counts.nbytes
    for scale in range(1, 50):
        observer.update((RNG.normal(size=1000) * scale).astype(np.float32))
    assert observer.counts.nbytes == size


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_the_tensors_name(value):
    with pytest.raises(DataError, match="'t'"):
        observe([1.0, value])


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("values", [[0.0] * 9, [3.0] * 9, [-3.0] * 9, [1e-12], [-1e4, 1e4], [0.0, 5.0]])
def test_every_range_holds_zero_and_is_wider_than_nothing(values, method, symmetric):
    low, high = choose(observe(values), method, symmetric=symmetric)
    assert low <= 0 <= high and high > low and math.isfinite(high - low)
    if symmetric:
        assert low == -high


def test_minmax_is_the_extremes():
    observer = observe([-2.0, 5.0])
    assert choose(observer, "minmax", symmetric=False) == (-2.0, 5.0)
    assert choose(observer, "minmax", symmetric=True) == (-5.0, 5.0)


def test_a_uniform_tensor_is_not_clipped():
    _, high = choose(observe(RNG.uniform(-1, 1, 50_000)), "mse", symmetric=True, levels=254)
    assert high > 0.99


def squared_error(values, low, high, levels):
    step = (high - low) / levels
    return float(np.mean((values - np.clip(np.rint(values / step) * step, low, high)) ** 2))


@pytest.mark.parametrize("name", ["laplace", "relu", "normal", "outlier"])
def test_mse_is_near_the_best_of_all_ranges_tried_on_the_values_themselves(name):
    values = {
        "laplace": RNG.laplace(size=40_000),
        "relu": np.maximum(RNG.normal(size=40_000), 0) ** 2,
        "normal": RNG.normal(size=40_000) + 0.5,
        "outlier": np.append(RNG.normal(size=40_000), [500.0]),
    }[name].astype(np.float32)
    # With few levels and an outlier it is best to round everything else to zero, where a step's noise is
    # not spread evenly: the formula does not cover that, and no engine computes in four bits.
    for levels in (255,) if name == "outlier" else (15, 255):
        _, high = choose(observe(values), "mse", symmetric=True, levels=levels)
        reach = float(np.abs(values).max())
        best = min(squared_error(values, -end, end, levels) for end in np.linspace(0.02, 1, 200) * reach)
        assert squared_error(values, -high, high, levels) < 1.1 * best


def test_mse_finds_both_ends_of_an_asymmetric_tensor():
    values = np.concatenate([RNG.exponential(1.0, 30_000), -RNG.exponential(0.1, 30_000)]).astype(np.float32)
    low, high = choose(observe(values), "mse", symmetric=False, levels=15)
    error = squared_error(values, low, high, 15)
    extremes = choose(observe(values), "minmax", symmetric=False)
    assert values.min() <= low < 0 < high <= values.max()
    assert error < 0.5 * squared_error(values, *extremes, 15)


def test_an_unknown_method_suggests_its_neighbour():
    with pytest.raises(UnknownNameError) as caught:
        choose(observe([1.0]), "minmx", symmetric=True)
    assert "minmax" in caught.value.hint
