import math

import numpy as np
import pytest

from edgecnn.errors import DataError
from edgecnn.quantize.ranges.observers import BINS, MOMENTUM, SAMPLES, Observer


def observe(*batches) -> Observer:
    observer = Observer("t")
    for batch in batches:
        observer.update(np.asarray(batch, np.float32))
    return observer


def state(observer: Observer):
    return (observer.minimum, observer.maximum, observer.reach, observer.zeros, observer.counts.tolist())


def images(seed: int, count: int = 12, size: tuple[int, ...] = (8, 30, 60)) -> np.ndarray:
    """Images of quite different magnitudes, with zeros as of a ReLU, larger than what is sampled of one."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, *size)) * rng.uniform(0.01, 30, (count, 1, 1, 1))
    return np.where(rng.random(values.shape) < 0.3, 0, values).astype(np.float32)


RNG = np.random.default_rng(0)


def test_extremes_are_exact_however_large_the_batch():
    values = RNG.normal(size=(1, 40 * SAMPLES)).astype(np.float32)
    values[0, 12345], values[0, 254321] = 77.0, -55.0
    observer = observe(values)
    assert (observer.minimum, observer.maximum) == (-55.0, 77.0)
    # An extreme that was met by luck or not stands for itself alone.
    assert observer.counts[observer.centres > 50].sum() <= 1 + 40


def test_the_histogram_counts_every_value_of_a_small_batch():
    values = RNG.normal(size=1000)
    values[:100] = 0
    observer = observe(values)
    assert observer.counts.sum() == 900 and observer.zeros == 100 and observer.sampled == 1000
    expected, _ = np.histogram(values[100:], BINS, (-observer.reach, observer.reach))
    # Values within rounding of an edge may fall on either side.
    assert np.abs(np.cumsum(observer.counts) - np.cumsum(expected)).max() <= 2


@pytest.mark.parametrize("size", [(3, 11), (16, 56, 56), (96, 112, 112), (1280,), (7, 210, 330)])
def test_a_sample_stands_for_all_values(size):
    values = np.random.default_rng(1).normal(size=(3, *size)).astype(np.float32)
    values[:, 0] = 0
    observer = observe(values)
    assert observer.counts.sum() + observer.zeros == pytest.approx(values.size, rel=0.01)
    assert observer.zeros / values.size == pytest.approx(np.mean(values == 0), rel=0.1)
    assert observer.sampled <= 3 * (2 * SAMPLES + 2)


def test_sampling_visits_every_column_of_a_feature_map():
    # Columns of different values: a step that kept to some of them would see only their values.
    values = np.broadcast_to(np.arange(1, 57, dtype=np.float32), (1, 56, 112, 56))
    observer = observe(values)
    seen = observer.counts[observer.counts > 0]
    assert len(seen) == 56 and seen.min() > 0.9 * seen.max()


@pytest.mark.parametrize("split", [[12], [1] * 12, [4, 4, 4], [1, 11], [9, 2, 1]])
@pytest.mark.parametrize("seed", [0, 1])
def test_neither_the_split_into_batches_nor_the_order_changes_anything(split, seed):
    whole = images(seed)
    order = np.random.default_rng(seed).permutation(len(whole))
    parts = np.split(whole[order], np.cumsum(split)[:-1])
    assert state(observe(*parts)) == state(observe(whole))


def test_an_image_weighs_the_same_in_a_small_and_in_a_large_batch():
    rng = np.random.default_rng(2)
    ones, twos = rng.uniform(1, 1.5, (4, 40 * SAMPLES)), rng.uniform(2, 2.5, (16, 40 * SAMPLES))
    observer = observe(ones, twos)
    below = observer.counts[observer.centres < 1.75].sum()
    assert below / observer.counts.sum() == pytest.approx(4 / 20, rel=1e-3)


def test_growing_keeps_every_count_and_its_place():
    small, large = RNG.normal(size=2000), RNG.normal(size=2000) * 1e6
    grown, direct = observe(small, large), observe(np.concatenate([large, small]))
    assert state(grown) == state(direct)
    assert grown.counts.sum() == 4000


@pytest.mark.parametrize("edge", [1.0, -1.0, 0.5, -0.75, 6.0])
def test_values_on_the_edge_of_a_bin_stay_in_place_when_the_histogram_grows(edge):
    assert state(observe([edge], [1000.0])) == state(observe([1000.0], [edge]))
    observer = observe([edge])
    inside = observer.counts[(observer.centres > 0) == (edge > 0)].sum()
    assert inside == 1 and abs(observer.centres[observer.counts.argmax()] - edge) <= observer.reach / BINS


@pytest.mark.parametrize(
    "value", [1e-45, 1e-38, 1e-30, -1e-30, 1.0, 1e30, -3e38, float(np.finfo(np.float32).max)]
)
def test_tiny_and_huge_values_have_a_bin(value):
    observer = observe([value, value / 2, 0.0])
    assert observer.zeros + observer.counts.sum() == 3 and observer.counts.sum() >= 1
    assert math.isfinite(observer.reach) and abs(value) < observer.reach
    assert np.isfinite(observer.centres).all()


def test_from_the_least_to_the_greatest_in_two_batches():
    observer = observe([1e-45], [3e38])
    assert observer.counts.sum() == 2 and observer.reach == 2.0**128


def test_memory_does_not_grow_with_the_batches():
    observer = observe(RNG.normal(size=1000))
    size = observer.counts.nbytes
    for scale in range(1, 50):
        observer.update((RNG.normal(size=1000) * scale).astype(np.float32))
    assert observer.counts.nbytes == size


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_values_that_are_not_finite_are_refused_by_the_tensors_name(value, place):
    values = RNG.normal(size=(3, 5, 40)).astype(np.float32)
    values[1].reshape(-1)[place] = value
    with pytest.raises(DataError, match="'t'"):
        observe(values)


def test_shapes_without_images_or_axes_are_taken():
    observer = observe(np.zeros((0, 3, 4, 4)), np.float32(3.0), np.full((2, 1), -1.0))
    assert (observer.minimum, observer.maximum, observer.images) == (-1.0, 3.0, 3)


def test_the_moving_average_follows_its_recurrence():
    values = images(3, count=250, size=(1, 4, 5))
    observer = observe(*np.split(values, 25))
    low = high = 0.0
    for index, image in enumerate(values, start=1):
        kept = min(MOMENTUM, 1 - 1 / index)
        low = kept * low + (1 - kept) * float(image.min())
        high = kept * high + (1 - kept) * float(image.max())
    assert observer.average_minimum == pytest.approx(low)
    assert observer.average_maximum == pytest.approx(high)


def test_the_moving_average_is_a_mean_of_the_first_hundred_images():
    values = images(4, count=100, size=(1, 4, 5))
    observer = observe(values)
    assert observer.average_maximum == pytest.approx(values.max(axis=(1, 2, 3)).mean())
    assert observer.average_minimum == pytest.approx(observe(values[::-1]).average_minimum)
