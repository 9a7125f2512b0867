import dataclasses

import numpy as np
import pytest
from small_layers import correlated, layer_of

from edgecnn.quantize.repair import adaround, moments
from edgecnn.quantize.repair.adaround import Settings

QUICK = Settings(iterations=300, batch=128, rows=2048, rate=0.03, drop=0.0)


def case(rng: np.random.Generator, clip=None, levels: int = 12):
    """A layer with coarse steps, so that rounding is what disturbs its output; and what `learn` takes."""
    weight = rng.normal(size=(20, 6)).astype(np.float32)
    exact = correlated(rng, 2000, 20)
    layer = layer_of("Gemm", weight, exact, exact, np.zeros(6, np.float32), clip)
    target = layer.view.as_matrix(weight).astype(np.float64)
    scale = np.abs(target).max(axis=2, keepdims=True) / levels
    return layer, moments.sample(layer), target, scale, np.rint(target / scale)


def loss(layer, weight, clip=None) -> float:
    """Mean square error of the output, means aside where nothing clips."""
    given = layer.quantized_input(layer.exact) @ weight[0].T
    wanted = layer.exact @ layer.weight
    if clip is not None:
        return float(np.square(np.clip(given, *clip) - np.clip(wanted, *clip)).mean())
    return float((given - wanted).var(axis=0).mean())


def test_the_output_is_nearer_than_of_weights_rounded_to_nearest(rng):
    layer, rows, target, scale, nearest = case(rng)
    learned = adaround.learn(layer, rows, target, scale, nearest, QUICK)
    assert loss(layer, learned * scale) < 0.7 * loss(layer, nearest * scale)


def test_what_an_activation_clips_does_not_count(rng):
    layer, rows, target, scale, nearest = case(rng, clip=(0.0, 1.0))
    inside = adaround.learn(layer, rows, target, scale, nearest, QUICK)
    whole = layer_of("Gemm", layer.weight, layer.exact, layer.exact, layer.bias)
    everywhere = adaround.learn(whole, rows, target, scale, nearest, QUICK)
    bounds = (0.0, 1.0)
    assert loss(layer, inside * scale, bounds) < loss(layer, everywhere * scale, bounds)


def test_the_result_is_whole_steps_next_to_the_start(rng):
    layer, rows, target, scale, _ = case(rng, levels=127)
    target[0, 0, :] = 127.4 * scale[0, 0]
    target[0, 1, :] = -127.4 * scale[0, 1]
    start = np.clip(np.rint(target / scale), -127, 127)
    learned = adaround.learn(layer, rows, target, scale, start, QUICK)
    assert np.all(learned == np.rint(learned)) and np.abs(learned).max() == 127
    assert np.abs(learned - start).max() <= 1


def test_a_seed_gives_one_result(rng):
    made = case(rng)
    first, again, other = (
        adaround.learn(*made, dataclasses.replace(QUICK, seed=seed, drop=0.5)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_outputs_that_learning_makes_worse_keep_what_they_had(rng):
    made = case(rng)
    # Nothing but a penalty, and steps far too long.
    wild = Settings(iterations=3, batch=4, rows=2048, rate=30.0, penalty=100.0)
    layer, _, _, scale, start = made
    assert loss(layer, adaround.learn(*made, wild) * scale) <= 1.02 * loss(layer, start * scale)


@pytest.mark.parametrize("group", [1, 3, 6])
def test_convolutions_of_all_kinds_are_learned(rng, group):
    # Neighbouring positions and channels have much in common.
    parts = (rng.normal(size=shape) for shape in ((40, 1, 1, 1), (40, 6, 1, 1), (40, 6, 8, 8)))
    values = sum(0.5 * part for part in parts).astype(np.float32)
    weight = rng.normal(size=(6, 6 // group, 3, 3)).astype(np.float32)
    layer = layer_of("Conv", weight, values, group=group, pads=[1, 1, 1, 1])
    target = layer.view.as_matrix(weight).astype(np.float64)
    scale = np.abs(target).max(axis=2, keepdims=True) / 12
    rows, start = moments.sample(layer), np.rint(target / scale)
    learned = adaround.learn(layer, rows, target, scale, start, QUICK)
    errors = [
        np.square(rows.wanted @ (steps * scale - target).transpose(0, 2, 1)).mean()
        for steps in (start, learned)
    ]
    assert learned.shape == target.shape and errors[1] < 0.9 * errors[0]
