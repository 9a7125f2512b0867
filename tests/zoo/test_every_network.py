"""What holds for every row of the catalogue: any width, class count and number of channels; trainable."""

import pytest
import torch
from deep_networks import CLASSIFIERS, named

from edgecnn import zoo
from edgecnn.zoo.blocks import StochasticDepth

#: Side of a small image that a network can still take, where it is not 64.
SIDES = {
    "lenet_1989": 16,
    "lenet5": 32,
    "alexnet": 67,
    **dict.fromkeys(("inception_v3", "inception_v4", "inception_resnet_v2"), 96),
}
#: At 0.25 a gate of two or four hidden units may be left with none that is above zero.
ALPHAS = {"ghostnet": 0.5, **{f"regnet_y_{size}": 0.5 for size in ("600mf", "800mf", "1_6gf", "3_2gf")}}
NAMES = [row.name for row in CLASSIFIERS]


@pytest.mark.parametrize("name", [*map(named, NAMES)])
@pytest.mark.parametrize(
    "alphas", [(0.25, 1.4), pytest.param((0.25, 0.5, 0.75, 1.0, 1.4), marks=pytest.mark.slow)], ids=str
)
def test_every_width_takes_any_number_of_classes_and_channels(name, alphas):
    row, side = zoo.architecture(name), SIDES.get(name, 64)
    params = []
    for alpha in alphas:
        with torch.device("meta"):
            network = zoo.build(row, alpha=alpha, num_classes=7, in_channels=1, resolution=side).eval()
            assert network(torch.empty(3, 1, side, side)).shape == (3, 7)
        params.append(sum(item.numel() for item in network.parameters()))
    assert params == sorted(params)
    # Transformers narrow by whole heads: a tiny one has too few of them for each step to differ.
    steps = [count for alpha, count in zip(alphas, params, strict=True) if alpha != 0.75]
    assert len(set(steps)) == len(steps)


@pytest.mark.parametrize("name", [*map(named, NAMES)])
def test_gradient_reaches_every_parameter(name):
    row, side = zoo.architecture(name), SIDES.get(name, 64)
    network = zoo.create(name, alpha=ALPHAS.get(name, 0.25), num_classes=7, resolution=side).train()
    for module in network.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0  # a branch that is dropped for the whole batch gets no gradient
    torch.manual_seed(0)
    outputs = network(torch.randn(4, row.in_channels, side, side))
    heads = outputs if isinstance(outputs, tuple) else (outputs,)
    assert all(head.shape == (4, 7) for head in heads)
    sum(head.square().sum() for head in heads).backward()
    assert [key for key, item in network.named_parameters() if item.grad is None or not item.grad.any()] == []
