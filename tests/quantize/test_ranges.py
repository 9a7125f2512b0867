import math

import numpy as np
import pytest

from edgecnn.errors import UnknownNameError
from edgecnn.quantize.int8_options import RANGE_METHODS
from edgecnn.quantize.ranges.observers import BINS, Observer
from edgecnn.quantize.ranges.range_methods import METHODS, choose


def observe(*batches) -> Observer:
    observer = Observer("t")
    for batch in batches:
        values = np.asarray(batch, np.float32)
        if values.ndim == 1 and len(values) >= 2000:
            # Many values to an image, all of which enter the histogram: one each would take long.
            whole = len(values) // 500 * 500
            observer.update(values[:whole].reshape(-1, 500))
            values = values[whole:]
        observer.update(values)
    return observer


RNG = np.random.default_rng(0)
SCHEMES = [(True, 254), (False, 255)]


def test_an_export_can_ask_for_every_method():
    assert set(RANGE_METHODS) == set(METHODS)


@pytest.mark.parametrize(("symmetric", "levels"), SCHEMES)
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize(
    "values",
    [
        [0.0] * 9,
        [3.0] * 9,
        [-3.0] * 9,
        [0.5] * 9,
        [-0.5],
        [6.0],
        [1e-12],
        [1e-30, 0],
        [1e-45],
        [1e30],
        [-1e30, 1e-30],
        [3e38, -3e38],
        [-1e4, 1e4],
        [0.0, 5.0],
        [-2.0, -1.0],
        [1.0, 1.0000001],
    ],
    ids=str,
)
def test_every_range_holds_zero_is_wider_than_nothing_and_no_wider_than_the_values(
    values, method, symmetric, levels
):
    low, high = choose(observe(values), method, symmetric=symmetric, levels=levels)
    assert low <= 0 <= high and high > low and math.isfinite(high - low)
    least, most = (float(np.float32(end)) for end in (min(0, *values, 0), max(0, *values, 0)))
    if symmetric:
        assert low == -high
        least, most = -max(-least, most), max(-least, most)
    assert low >= least - 1e-8 and high <= most + 1e-8
    # No method clips all of a few values away.
    assert high - low >= 0.01 * (most - least)


@pytest.mark.parametrize(("symmetric", "levels"), SCHEMES)
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("exponent", [-90, -20, 3, 90])
def test_ranges_scale_with_the_values(method, symmetric, levels, exponent):
    values = np.random.default_rng(5).laplace(size=20_000).astype(np.float32)
    scaled = values * np.float32(2.0**exponent)
    ranges = choose(observe(values), method, symmetric=symmetric, levels=levels)
    expected = [end * 2.0**exponent for end in ranges]
    if expected[1] - expected[0] > 1e-6:
        assert choose(observe(scaled), method, symmetric=symmetric, levels=levels) == pytest.approx(expected)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_mirrored_tensor_has_the_mirrored_range(method):
    values = np.random.default_rng(6).gamma(2, size=30_000)
    low, high = choose(observe(values - 1), method, symmetric=False)
    mirrored = choose(observe(1 - values), method, symmetric=False)
    assert mirrored == pytest.approx((-high, -low), rel=0.1)


@pytest.mark.parametrize(("symmetric", "levels"), SCHEMES)
@pytest.mark.parametrize("method", list(METHODS))
def test_the_images_order_and_split_do_not_matter(method, symmetric, levels):
    rng = np.random.default_rng(7)
    images = (rng.laplace(size=(40, 500)) * rng.uniform(0.1, 10, (40, 1))).astype(np.float32)
    whole = choose(observe(images), method, symmetric=symmetric, levels=levels)
    split = observe(*np.array_split(images[rng.permutation(40)], 7))
    assert choose(split, method, symmetric=symmetric, levels=levels) == pytest.approx(whole, rel=1e-9)


def test_an_unknown_method_suggests_its_neighbour():
    with pytest.raises(UnknownNameError) as caught:
        choose(observe([1.0]), "minmx", symmetric=True)
    assert "minmax" in caught.value.hint


def test_minmax_is_the_extremes():
    observer = observe([-2.0, 5.0])
    assert choose(observer, "minmax", symmetric=False) == (-2.0, 5.0)
    assert choose(observer, "minmax", symmetric=True) == (-5.0, 5.0)


def test_moving_average_is_that_of_the_images_extremes():
    observer = observe([[-2.0, 5.0], [-4.0, 1.0]])
    assert choose(observer, "moving_average", symmetric=False) == (-3.0, 3.0)
    assert choose(observe([[-2.0, 5.0], [-4.0, 2.0]]), "moving_average", symmetric=True) == (-3.5, 3.5)
    assert choose(observe([[1.0, 5.0]]), "moving_average", symmetric=False) == (0.0, 5.0)


PERCENTILES = {
    "normal": lambda rng: rng.normal(size=200_000),
    "uniform": lambda rng: rng.uniform(-3, 5, 200_000),
    "relu": lambda rng: np.maximum(rng.normal(size=200_000), 0),
    "relu of few": lambda rng: np.where(rng.random(200_000) < 0.99, 0, rng.exponential(size=200_000)),
    "negative": lambda rng: -rng.exponential(size=200_000),
    "spike": lambda rng: np.append(np.full(150_000, 2.5), rng.normal(size=50_000)),
    "a hundred": lambda rng: np.arange(1.0, 101.0),
    "one": lambda rng: np.array([-7.0]),
}


@pytest.mark.parametrize("name", list(PERCENTILES))
def test_percentile_is_numpys_to_a_bins_width(name):
    values = PERCENTILES[name](np.random.default_rng(8)).astype(np.float32)
    observer = observe(values)
    width = 2 * observer.reach / BINS
    low, high = choose(observer, "percentile", symmetric=False)
    expected = np.percentile(values, [0.01, 99.99])
    if name == "a hundred":
        width = 1  # the rank lies between the last two values, where numpy takes a mean of them
    assert low == pytest.approx(min(0, expected[0]), abs=width)
    assert high == pytest.approx(max(0, expected[1]), abs=width)
    _, end = choose(observer, "percentile", symmetric=True)
    assert end == pytest.approx(np.percentile(np.abs(values), 99.99), abs=width)


def test_percentile_does_not_lose_a_tensor_that_is_almost_always_zero():
    values = np.zeros(1_000_000)
    values[:20] = np.linspace(1, 2, 20)
    assert np.percentile(values, 99.99) == 0
    assert choose(observe(values), "percentile", symmetric=False)[1] == pytest.approx(2, rel=0.01)
    assert choose(observe(values), "percentile", symmetric=True)[1] == pytest.approx(2, rel=0.01)


def clipping(density: str, quantum: float, end: float) -> float:
    """Expected squared error of (-end, end) in steps of `quantum`: Banner et al. 2018, equations 6 to 9."""
    rounding = quantum**2 / 12
    if density == "laplace":
        return rounding + 2 * math.exp(-end)
    tail = math.erfc(end / math.sqrt(2)) / 2
    return rounding + 2 * ((1 + end * end) * tail - end * math.exp(-end * end / 2) / math.sqrt(2 * math.pi))


def best_end(density: str, levels: int) -> float:
    ends = np.linspace(0.5, 16, 4000)
    return float(ends[np.argmin([clipping(density, 2 * end / levels, end) for end in ends])])


@pytest.mark.parametrize(
    ("density", "levels", "published"),
    [
        ("laplace", 4, 2.83),
        ("laplace", 16, 5.03),
        ("laplace", 256, 9.89),
        ("normal", 4, 1.71),
        ("normal", 16, 2.55),
        ("normal", 256, 3.92),
    ],
)
def test_the_formula_gives_the_published_clipping_values(density, levels, published):
    # Banner et al. 2018 (arXiv:1810.05723v3, section 3.1) divide the range into 2^bits steps.
    assert best_end(density, levels) == pytest.approx(published, abs=0.07)


@pytest.mark.parametrize(("density", "levels"), [("laplace", 254), ("normal", 254), ("laplace", 30)])
def test_mse_finds_the_clipping_value_of_a_known_density(density, levels):
    # Quantiles instead of a sample: the tails are where they should be.
    share = (np.arange(2_000_000) + 0.5) / 2_000_000
    if density == "laplace":
        values = np.sign(share - 0.5) * -np.log1p(-2 * np.abs(share - 0.5) * (1 - 1e-9))
    else:
        grid = np.linspace(-6, 6, 200_001)
        cdf = np.array([math.erfc(-x / math.sqrt(2)) / 2 for x in grid])
        values = np.interp(share, cdf, grid)
    _, end = choose(observe(values), "mse", symmetric=True, levels=levels)
    # The minimum is flat: near enough is an error that is almost the least.
    expected = best_end(density, levels)
    assert end == pytest.approx(expected, rel=0.05)
    least = clipping(density, 2 * expected / levels, expected)
    assert clipping(density, 2 * end / levels, end) < 1.02 * least


@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
@pytest.mark.parametrize("count", [2_000, 20_000, 1_000_000])
@pytest.mark.parametrize(("symmetric", "levels"), SCHEMES)
def test_a_uniform_tensor_is_not_clipped(method, count, symmetric, levels):
    values = np.random.default_rng(count).uniform(-1, 1, count)
    low, high = choose(observe(values), method, symmetric=symmetric, levels=levels)
    assert low < -0.96 and high > 0.96


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


@pytest.mark.parametrize("seed", range(4))
def test_entropy_clips_a_rare_far_outlier(seed):
    values = np.append(np.random.default_rng(seed).normal(size=40_000), [500.0])
    _, end = choose(observe(values), "entropy", symmetric=True, levels=254)
    assert 3 < end < 6
    low, high = choose(observe(values), "entropy", symmetric=False, levels=255)
    assert -8 < low < -3 and 3 < high < 8


@pytest.mark.parametrize("count", [20_000, 300_000])
def test_entropy_clips_the_tails_of_known_densities_a_little(count):
    rng = np.random.default_rng(9)
    _, normal = choose(observe(rng.normal(size=count)), "entropy", symmetric=True, levels=254)
    _, laplace = choose(observe(rng.laplace(size=count)), "entropy", symmetric=True, levels=254)
    assert 3.5 < normal < 5 and 8 < laplace < 14


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_relus_zeros_do_not_change_what_entropy_chooses(share):
    values = np.random.default_rng(10).exponential(size=20_000)
    with_zeros = np.append(values, np.zeros(int(20_000 * share / (1 - share))))
    for symmetric, levels in SCHEMES:
        alone = choose(observe(values), "entropy", symmetric=symmetric, levels=levels)
        among = choose(observe(with_zeros), "entropy", symmetric=symmetric, levels=levels)
        assert among == pytest.approx(alone, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_a_density_that_starts_at_zero_has_the_range_of_both_halves(seed):
    # Half of the step around zero is out of reach of a ReLU's output, and nothing may be smeared there.
    values = np.random.default_rng(seed).normal(size=300_000)
    both = choose(observe(values), "entropy", symmetric=True, levels=254)
    half = choose(observe(np.abs(values)), "entropy", symmetric=True, levels=254)
    assert half == pytest.approx(both, rel=0.1)


@pytest.mark.parametrize("count", [5_000, 500_000])
@pytest.mark.parametrize(("symmetric", "levels"), SCHEMES)
def test_entropy_hardly_clips_pixels_which_have_256_values(count, symmetric, levels):
    pixels = np.clip(np.random.default_rng(12).normal(100, 60, count), 0, 255).astype(np.uint8)
    for values in (pixels / 127.5 - 1, pixels.astype(np.float32), pixels / 255 / 0.225 - 2.1):
        least, most = values.min(), values.max()
        low, high = choose(observe(values), "entropy", symmetric=symmetric, levels=levels)
        assert high >= 0.95 * most and low <= 0.95 * min(0, least)


def test_entropy_keeps_what_many_values_are_clipped_to():
    values = np.clip(np.random.default_rng(11).normal(size=50_000) * 4, 0, 6)
    assert choose(observe(values), "entropy", symmetric=False)[1] == 6
    assert choose(observe(values), "entropy", symmetric=True, levels=254)[1] == 6
