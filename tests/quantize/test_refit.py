import numpy as np
from small_layers import correlated

from edgecnn.quantize.repair.moments import Moments
from edgecnn.quantize.repair.refit import refit

INPUTS = 6
WEIGHT = np.random.default_rng(1).normal(size=(1, 4, INPUTS))


def moments_of(wanted: np.ndarray, given: np.ndarray, parts: int = 2) -> list[Moments]:
    """Those of rows, in parts."""
    found = []
    for x, y in zip(np.array_split(wanted, parts), np.array_split(given, parts), strict=True):
        x, y = x.astype(np.float64), y.astype(np.float64)
        a, b = x - x.mean(0), y - y.mean(0)
        values = (float(len(x)), y.mean(0), x.mean(0), b.T @ b / len(x), a.T @ b / len(x))
        found.append(Moments(*(np.asarray(value)[None] for value in values)))
    return found


def test_weights_stay_where_the_input_is_exact(rng):
    rows = correlated(rng, 500, INPUTS)
    fitted, ridge = refit(WEIGHT, moments_of(rows, rows))
    assert ridge == np.inf
    np.testing.assert_array_equal(fitted, WEIGHT)


def test_a_known_change_of_the_input_is_undone(rng):
    wanted = rng.normal(size=(4000, INPUTS))
    distortion = np.eye(INPUTS) + 0.1 * rng.normal(size=(INPUTS, INPUTS))
    parts = moments_of(wanted, wanted @ distortion + 7)
    fitted, ridge = refit(WEIGHT, parts)
    undone = WEIGHT @ np.linalg.inv(distortion).T
    assert ridge == 0.03
    assert np.abs(fitted - undone).max() < 0.25 * np.abs(WEIGHT - undone).max()


def test_noise_on_few_rows_is_not_learned_by_heart(rng):
    inputs = 60
    weight = rng.normal(size=(1, 4, inputs))
    wanted = correlated(rng, 80, inputs)
    given = wanted + 0.05 * rng.normal(size=wanted.shape)
    fitted, ridge = refit(weight, moments_of(wanted, given))
    assert ridge >= 1
    fresh = correlated(rng, 4000, inputs)
    noisy = fresh + 0.05 * rng.normal(size=fresh.shape)
    before = np.square(fresh @ weight[0].T - noisy @ weight[0].T).mean()
    after = np.square(fresh @ weight[0].T - noisy @ fitted[0].T).mean()
    assert after < 1.1 * before


def test_the_ridge_is_that_of_the_part_which_was_not_fitted(rng):
    """Parts that contradict each other: what is learned from either harms on the other."""
    wanted = rng.normal(size=(1000, INPUTS))
    bent = np.eye(INPUTS) + 0.3 * rng.normal(size=(INPUTS, INPUTS))
    given = np.concatenate([wanted[:500] @ bent, wanted[500:] @ (2 * np.eye(INPUTS) - bent)])
    _, ridge = refit(WEIGHT, moments_of(wanted, given))
    assert ridge >= 3
