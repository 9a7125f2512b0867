import itertools
import math

import pytest
import torch
from torch import nn

from edgecnn.compress.train import optimizer as optimizers
from edgecnn.compress.train.average import Average
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.errors import EdgecnnError


def test_the_rate_rises_along_a_line_and_falls_to_zero_along_a_cosine():
    shares = [optimizers.schedule(step, 100, 10) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert shares[10] == 1 and shares[55] == pytest.approx(0.5)
    assert shares[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert all(a > b for a, b in itertools.pairwise(shares[10:]))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_only_weights_are_decayed_and_factors_hold(name):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    network[2].weight.rate_factor = 0.1
    network[0].weight.no_decay = True
    made = optimizers.make([network], TrainOptions(optimizer=name, weight_decay=0.3), 2.0)
    optimizers.set_rate(made, 0, 10, 0)
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in made.param_groups
        for parameter in group["params"]
    }
    assert found[id(network[0].weight)] == (2.0, 0)
    assert found[id(network[1].weight)] == found[id(network[2].bias)] == (2.0, 0)
    assert found[id(network[2].weight)] == (pytest.approx(0.2), 0.3)
    assert len(found) == 6


def test_frozen_parameters_are_not_optimized():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    made = optimizers.make([network], TrainOptions(), 1e-3)
    assert {id(p) for group in made.param_groups for p in group["params"]} == {
        id(p) for p in network[1].parameters()
    }


def test_the_default_rate_grows_with_the_batch_as_the_optimizer_wants():
    for name, power in (("adamw", 0.5), ("sgd", 1.0)):
        small, large = (
            TrainOptions(optimizer=name, batch=batch).learning_rate(fine_tuning=True) for batch in (64, 256)
        )
        assert large / small == pytest.approx(4**power)


def test_the_average_follows_its_formula():
    network = nn.BatchNorm2d(1)
    average = Average(network, 0.9)
    expected = 1.0
    for step in range(200):
        with torch.no_grad():
            network.weight.fill_(float(step))
        network.num_batches_tracked += 1
        average.update(network, step)
        share = min(0.9, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * step
    assert average.network.weight.item() == pytest.approx(expected, rel=1e-5)
    assert average.network.num_batches_tracked == 200


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": 0}, "`epochs` of 0"),
        ({"batch": 0}, "`batch` of 0"),
        ({"lr": -1.0}, "`lr` of -1"),
        ({"lr": float("nan")}, "`lr` of nan"),
        ({"warmup": 50.0}, "`warmup` of 50"),
        ({"freeze": 30}, "`freeze` of 30"),
        ({"ema": 1.0}, "`ema` of 1"),
        ({"validation": 1.0}, "`validation` of 1"),
        ({"optimizer": "adam"}, "unknown `optimizer` 'adam'"),
        ({"amp": "fp8"}, "unknown `amp` 'fp8'"),
    ],
)
def test_values_that_cannot_work_are_refused(values, words):
    with pytest.raises(EdgecnnError, match=words) as caught:
        TrainOptions(**values)
    assert caught.value.hint
