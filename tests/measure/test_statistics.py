"""Samples with a known law, and what is said of them."""

import numpy as np
import pytest

from edgecnn.measure.latency.statistics import median_interval, paired_ratio, steadiness, student_t, summary


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def latencies(rng, count=1000, scale=5e-3, noise=0.02):
    """Latencies as a machine gives them: a floor, a little noise, a tail."""
    return scale * (
        1 + noise * np.abs(rng.normal(size=count)) + (rng.random(count) < 0.02) * rng.random(count)
    )


def times(samples):
    return np.concatenate([[0], np.cumsum(samples)[:-1]])


def test_the_summary_is_numpys():
    samples = np.arange(1.0, 2001.0)
    found = summary(samples)
    assert found["p50"] == 1000.5 and found["p99.9"] == pytest.approx(np.percentile(samples, 99.9))
    assert (found["min"], found["max"], found["mean"]) == (1, 2000, 1000.5)


def test_the_interval_of_the_median_holds_it_about_as_often_as_it_says(rng):
    held = 0
    for trial in range(200):
        low, high = median_interval(rng.lognormal(size=150), seed=trial)
        held += low <= 1 <= high
    assert 180 <= held <= 199


def test_samples_that_resemble_their_neighbours_give_a_wider_interval(rng):
    alone = rng.normal(10, 1, 2000)
    walk = np.repeat(rng.normal(10, 1, 200), 10)

    def width(ends):
        return ends[1] - ends[0]

    assert width(median_interval(walk)) > 1.8 * width(median_interval(alone))


def test_steady_samples_are_steady(rng):
    verdicts = [steadiness(x, times(x)).verdict for x in (latencies(rng) for _ in range(100))]
    assert verdicts.count("steady") >= 99


@pytest.mark.parametrize("slower", [1.08, 1.3, 2.0])
def test_a_throttle_half_way_is_found_with_its_moment(rng, slower):
    for _ in range(20):
        samples = latencies(rng)
        samples[500:] *= slower
        found = steadiness(samples, times(samples))
        assert found.verdict == "slower" and found.ratio == pytest.approx(slower, rel=0.02)
        assert found.at_seconds == pytest.approx(np.sum(samples[:500]), rel=0.1)


def test_a_slow_decline_is_called_drift(rng):
    samples = latencies(rng) * np.linspace(1, 1.25, 1000)
    found = steadiness(samples, times(samples))
    assert found.verdict == "drifting" and found.ratio == pytest.approx(1.25, rel=0.05)
    assert str(found).startswith("drifting: 2")


def test_one_slow_moment_is_no_change(rng):
    samples = latencies(rng)
    samples[300:340] *= 3
    assert steadiness(samples, times(samples)).verdict == "steady"


def test_a_latency_that_jumps_to_and_fro_is_unsteady(rng):
    samples = latencies(rng) * np.repeat(np.tile([1, 1.5], 10), 50)
    assert steadiness(samples, times(samples)).verdict == "unsteady"


def test_a_few_samples_say_nothing():
    assert steadiness(np.array([1.0, 2.0]), np.array([0.0, 1.0])).verdict == "steady"


def pairs(rng, ratio, loads=1, spread=0.0):
    """Latencies of two engines on a machine that varies; each load is faster or slower by `spread`."""
    one, other = [], []
    for _ in range(loads):
        machine = np.repeat(rng.lognormal(0, 0.1, 10), 10)
        one.append(ratio * float(rng.lognormal(0, spread)) * machine * latencies(rng, 100))
        other.append(float(rng.lognormal(0, spread)) * machine * latencies(rng, 100))
    return one, other


@pytest.mark.parametrize(("loads", "spread"), [(1, 0.0), (6, 0.0), (6, 0.01)])
def test_pairs_of_one_engine_contain_one_in_19_of_20(rng, loads, spread):
    held = 0
    for _ in range(400):
        ratio = paired_ratio(*pairs(rng, 1.0, loads, spread))
        held += ratio.low <= 1 <= ratio.high
    assert held >= 0.93 * 400


@pytest.mark.parametrize(("loads", "spread"), [(1, 0.0), (6, 0.01)])
def test_five_percent_are_found_though_the_machine_varies_by_more(rng, loads, spread):
    for _ in range(50):
        ratio = paired_ratio(*pairs(rng, 1.05, loads, spread))
        assert ratio.verdict == "slower" or (loads > 1 and ratio.value > 1.03)
        assert ratio.low < 1.05 < ratio.high or abs(ratio.value - 1.05) < 0.02


def test_a_ratio_says_how_much_was_measured(rng):
    ratio = paired_ratio(*pairs(rng, 1.0, 3))
    assert (ratio.pairs, ratio.loads) == (300, 3)


@pytest.mark.parametrize(("freedom", "expected"), [(5, 2.5706), (10, 2.2281), (30, 2.0423), (100, 1.9840)])
def test_students_t_is_that_of_the_tables(freedom, expected):
    assert student_t(freedom) == pytest.approx(expected, rel=1e-3)
