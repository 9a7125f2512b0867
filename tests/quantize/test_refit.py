import numpy as np
import pytest
from small_layers import correlated

from edgecnn.quantize.repair.moments import Moments
from edgecnn.quantize.repair.patches import Rows
from edgecnn.quantize.repair.refit import ByMoments, ByRows, refit

INPUTS = 6
WEIGHT = np.random.default_rng(1).normal(size=(1, 4, INPUTS))


def by_moments(weight: np.ndarray, parts: list[Rows]) -> ByMoments:
    found = []
    for part in parts:
        x, y = part.wanted[0].astype(np.float64), part.given[0].astype(np.float64)
        lacking = (x - y) @ weight[0].T
        mean, short = y.mean(0), lacking.mean(0)
        square, gain = (y - mean).T @ (y - mean) / len(y), (lacking - short).T @ (y - mean) / len(y)
        values = (float(len(x)), mean, short, square, gain)
        found.append(Moments(*(np.asarray(value, np.float32)[None] for value in values)))
    return ByMoments(found)


def parts_of(wanted: np.ndarray, given: np.ndarray) -> list[Rows]:
    return Rows(wanted[None].astype(np.float32), given[None].astype(np.float32)).split(2)


@pytest.fixture(params=[by_moments, ByRows])
def problem(request):
    """What turns a weight and rows into a problem."""
    return lambda weight, wanted, given: request.param(weight, parts_of(wanted, given))


def test_weights_stay_where_the_input_is_exact(rng, problem):
    rows = correlated(rng, 500, INPUTS)
    fitted, ridge = refit(WEIGHT, problem(WEIGHT, rows, rows))
    assert ridge == np.inf
    np.testing.assert_array_equal(fitted, WEIGHT)


def test_a_known_change_of_the_input_is_undone(rng, problem):
    wanted = rng.normal(size=(1000, INPUTS))
    distortion = np.eye(INPUTS) + 0.1 * rng.normal(size=(INPUTS, INPUTS))
    fitted, ridge = refit(WEIGHT, problem(WEIGHT, wanted, wanted @ distortion + 7))
    undone = WEIGHT @ np.linalg.inv(distortion).T
    assert ridge == 0.03
    assert np.abs(fitted - undone).max() < 0.25 * np.abs(WEIGHT - undone).max()


def test_few_rows_fit_outputs_that_are_groups_by_themselves(rng):
    """A layer whose clipped outputs have moments of their own, and fewer rows than inputs."""
    weight = rng.normal(size=(1, 4, 60))
    wanted = rng.normal(size=(40, 60))
    rows = ByRows(weight, parts_of(wanted, 1.1 * wanted))
    together, ridge = refit(weight, rows)
    apart, _ = refit(weight.reshape(4, 1, 60), rows)
    assert ridge < np.inf
    np.testing.assert_array_equal(apart.reshape(1, 4, 60), together)


def test_noise_on_few_rows_is_not_learned_by_heart(rng, problem):
    inputs = 60
    weight = rng.normal(size=(1, 4, inputs))
    wanted = correlated(rng, 80, inputs)
    given = wanted + 0.05 * rng.normal(size=wanted.shape)
    fitted, ridge = refit(weight, problem(weight, wanted, given))
    assert ridge >= 1
    fresh = correlated(rng, 4000, inputs)
    noisy = fresh + 0.05 * rng.normal(size=fresh.shape)
    before = np.square(fresh @ weight[0].T - noisy @ weight[0].T).mean()
    after = np.square(fresh @ weight[0].T - noisy @ fitted[0].T).mean()
    assert after < 1.1 * before


def test_the_ridge_is_that_of_the_part_which_was_not_fitted(rng, problem):
    """Parts that contradict each other: what is learned from either harms on the other."""
    wanted = rng.normal(size=(1000, INPUTS))
    bent = np.eye(INPUTS) + 0.3 * rng.normal(size=(INPUTS, INPUTS))
    given = np.concatenate([wanted[:500] @ bent, wanted[500:] @ (2 * np.eye(INPUTS) - bent)])
    _, ridge = refit(WEIGHT, problem(WEIGHT, wanted, given))
    assert ridge >= 3


def test_both_forms_of_the_equations_give_the_same(rng):
    """Fewer rows than inputs, and the other way round."""
    for rows, inputs in ((30, 50), (120, 50)):
        weight = rng.normal(size=(1, 4, inputs))
        wanted = correlated(rng, rows, inputs)
        parts = parts_of(wanted, wanted + 0.1 * rng.normal(size=wanted.shape))
        # Each half about its mean, as the equations in the rows take it.
        parts = [Rows(*(side - side.mean(1, keepdims=True) for side in (p.wanted, p.given))) for p in parts]
        first, second = by_moments(weight, parts), ByRows(weight, parts)
        for ridge in (3.0, 0.1):
            assert first.loss(ridge) == pytest.approx(second.loss(ridge), rel=1e-3)
            np.testing.assert_allclose(first.change(ridge), second.change(ridge), atol=1e-4)
