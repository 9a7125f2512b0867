import numpy as np
import pytest

from edgecnn.errors import DataError
from edgecnn.quantize.ranges.channel_statistics import ChannelObserver


def observe(*batches) -> ChannelObserver:
    observer = ChannelObserver("t")
    for batch in batches:
        observer.update(np.asarray(batch, np.float32))
    return observer


@pytest.mark.parametrize("shape", [(9, 5, 6, 7), (9, 5), (1, 1, 1, 1), (9, 1, 3, 3), (1, 5), (9, 4, 11)])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_statistics_are_those_of_all_values_at_once(shape, offset):
    values = (np.random.default_rng(0).normal(size=shape) + offset).astype(np.float32)
    observer = observe(*np.array_split(values, min(4, len(values))))
    axes = (0, *range(2, values.ndim))
    exact = values.astype(np.float64)
    assert observer.count == values.size // shape[1]
    np.testing.assert_array_equal(observer.minimum, values.min(axis=axes))
    np.testing.assert_array_equal(observer.maximum, values.max(axis=axes))
    np.testing.assert_allclose(observer.mean, exact.mean(axis=axes), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(observer.std, exact.std(axis=axes), rtol=1e-9, atol=1e-13)


def test_a_large_mean_does_not_drown_the_deviation():
    values = np.full((64, 1, 16, 16), 1e6, np.float32)
    values[::2] += 1
    assert observe(*values.reshape(8, 8, 1, 16, 16)).std == pytest.approx([0.5], rel=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_the_tensors_name(value):
    with pytest.raises(DataError, match="'t'"):
        observe([[1.0, value]])


def test_a_tensor_without_channels_or_with_others_than_before_is_refused():
    with pytest.raises(DataError, match="no channels"):
        observe([1.0, 2.0])
    with pytest.raises(DataError, match="'t'"):
        observe([[1.0, 2.0]], [[1.0, 2.0, 3.0]])


def test_nothing_seen_yet():
    observer = observe(np.zeros((0, 3, 2, 2)))
    assert observer.count == 0 and observer.std.size == 0
