import itertools

import numpy as np
import pytest
from small_layers import correlated, cost, second_moments

from edgecnn.quantize.repair import scales
from edgecnn.quantize.repair.layer_inputs import FewRows, SecondMoments
from edgecnn.quantize.repair.rounding import round_by_rows, round_weights


@pytest.mark.parametrize("size", [3, 40, 200])
def test_no_output_is_worse_than_rounded_to_nearest(rng, size):
    square = second_moments(correlated(rng, 2000, size))
    target = rng.uniform(-100, 100, (1, 8, size))
    found = cost(round_weights(target, square), target, square)
    nearest = cost(np.rint(target), target, square)
    assert np.all(found <= nearest) and found.sum() < (0.9 if size == 3 else 0.5) * nearest.sum()


def test_it_is_nearly_as_good_as_the_best_of_all_choices(rng):
    square = second_moments(correlated(rng, 2000, 8))
    target = rng.uniform(-100, 100, (1, 20, 8))
    choices = np.array(list(itertools.product((0, 1), repeat=8)))
    best = [cost(np.floor(output) + choices[None], output[None, None], square).min() for output in target[0]]
    assert cost(round_weights(target, square), target, square).sum() < 1.15 * np.sum(best)


def test_inputs_without_correlation_leave_nothing_but_the_nearest(rng):
    target = rng.uniform(-100, 100, (2, 4, 9))
    square = np.stack([np.diag(rng.uniform(0.5, 2, 9)) for _ in range(2)])
    np.testing.assert_array_equal(round_weights(target, square), np.rint(target))


def test_few_rows_are_not_learned_by_heart():
    """On other rows, four draws together, where rounding to nearest is 1."""

    def relative(seed):
        rng = np.random.default_rng(seed)
        rows = correlated(rng, 4000, 40)
        shown, others = second_moments(rows[:60]), second_moments(rows[60:])
        target = rng.uniform(-100, 100, (1, 20, 40))
        nearest = cost(np.rint(target), target, others).sum()
        return cost(round_weights(target, shown), target, others).sum() / nearest

    assert np.mean([relative(seed) for seed in range(4)]) < 0.36


def test_integers_stay_within_the_levels(rng):
    square = second_moments(correlated(rng, 2000, 12))
    steps = round_weights(rng.choice([-127.4, 127.4, 126.5], (1, 10, 12)), square)
    assert np.abs(steps).max() == 127 and np.all(steps == np.rint(steps))


def test_an_input_that_is_never_seen_does_no_harm(rng):
    rows = correlated(rng, 500, 6)
    rows[:, 2] = 0
    target = rng.uniform(-100, 100, (1, 4, 6))
    steps = round_weights(target, second_moments(rows))
    np.testing.assert_array_equal(steps[:, :, 2], np.rint(target[:, :, 2]))


def test_groups_are_rounded_independently(rng):
    square = np.concatenate([second_moments(correlated(rng, 500, 6)) for _ in range(3)])
    target = rng.uniform(-100, 100, (3, 2, 6))
    together = round_weights(target, square)
    apart = [round_weights(target[g : g + 1], square[g : g + 1]) for g in range(3)]
    np.testing.assert_array_equal(together, np.concatenate(apart))


@pytest.mark.parametrize(("count", "inputs"), [(20, 90), (60, 600), (50, 40)])
def test_few_rows_and_their_moments_round_alike(rng, count, inputs):
    rows = np.stack([correlated(rng, count, inputs) for _ in range(2)])
    rows -= rows.mean(axis=1, keepdims=True)
    square = np.concatenate([second_moments(part) for part in rows])
    target = rng.uniform(-100, 100, (2, 8, inputs))
    by_rows, by_moments = round_by_rows(target, rows), round_weights(target, square)
    assert np.mean(by_rows == by_moments) > 0.95
    assert cost(by_rows, target, square).sum() < 1.02 * cost(by_moments, target, square).sum()
    np.testing.assert_allclose(
        FewRows(rows).cost(by_rows - target), cost(by_rows, target, square), rtol=1e-4, atol=1e-6
    )


def test_a_scale_is_found_at_which_all_weights_are_whole_steps(rng):
    square = second_moments(correlated(rng, 500, 4))
    target = np.array([[[100.0, -60.0, 20.0, 5.0]]]) * 0.01
    found = scales.search(target, np.full((1, 1, 1), 1 / 90), SecondMoments(square).cost, (0.8, 0.9, 1.0))
    np.testing.assert_allclose(found, 0.01)


def test_scales_are_never_worse_than_as_they_were(rng):
    square = second_moments(correlated(rng, 500, 9))
    target = rng.normal(size=(1, 50, 9))
    scale = np.abs(target).max(axis=2, keepdims=True) / 127
    found = scales.search(target, scale, SecondMoments(square).cost)
    before, after = (
        cost(np.clip(np.rint(target / step), -127, 127) * step, target, square) for step in (scale, found)
    )
    assert np.all(after <= before) and after.sum() < before.sum()
