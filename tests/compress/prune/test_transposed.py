"""Transposed convolutions and group normalization are pruned too: what goes leaves no trace."""

import copy
import json

import pytest
import torch
from torch import nn

from edgecnn.compress.prune.channel_groups import Groups
from edgecnn.compress.prune.goal import Goal
from edgecnn.compress.prune.importance import scores
from edgecnn.compress.prune.prune_network import prune, without
from edgecnn.errors import WeightsError
from edgecnn.zoo import cost
from edgecnn.zoo.structure import differences, restructure


class Decoder(nn.Module):
    """Down by a convolution, up by a transposed one, of `groups` and with or without a bias, and a head."""

    def __init__(self, groups: int = 1, bias: bool = True, norm: int = 4, affine: bool = True) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 16, 3, 2, 1)
        self.norm = nn.GroupNorm(norm, 16, affine=affine)
        self.up = nn.ConvTranspose2d(16, 16, 4, 2, 1, groups=groups, bias=bias)
        self.last = nn.Conv2d(16, 24, 3, padding=1)
        self.after = nn.GroupNorm(6, 24)
        self.head = nn.Conv2d(24, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(torch.relu(self.norm(self.down(x))))
        return self.head(torch.relu(self.after(self.last(torch.relu(x)))))


IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).mul(400).sin().reshape(2, 3, 16, 16)
KINDS = [{}, {"bias": False}, {"groups": 4}, {"groups": 16}, {"norm": 16}, {"groups": 2, "norm": 8}]


def made(**options) -> Decoder:
    torch.manual_seed(0)
    network = Decoder(**options).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name or "after" in name:
                parameter.add_(torch.rand_like(parameter))
    return network


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_channels_that_are_zero_can_go_without_a_trace(options):
    network = made(**options)
    groups = Groups(network, IMAGES, 1)
    keep = groups.everything()
    for group in groups.groups:
        keep[group.labels[1::2]] = False
    silent = copy.deepcopy(network)
    tensors = dict(silent.named_parameters())
    with torch.no_grad():
        for (name, axis), labels in groups.axes.items():
            if axis == (name in groups.transposed):
                tensors[name].movedim(axis, 0)[torch.from_numpy(~keep[labels])] = 0
        smaller = without(silent, groups, keep)
        assert torch.allclose(smaller(IMAGES), silent(IMAGES), atol=1e-5)
        assert not torch.allclose(network(IMAGES), silent(IMAGES), atol=1e-2)
    assert smaller.up.weight.shape < network.up.weight.shape
    assert cost.count(smaller, 3, 16).macs == groups.cost(keep).macs < groups.cost(groups.everything()).macs
    for norm in (smaller.norm, smaller.after):
        assert norm.num_channels % norm.num_groups == 0 and norm.num_groups < 16


def test_the_channels_of_a_group_go_together():
    axes = Groups(made(), IMAGES, 1).axes
    labels = axes["norm.weight", 0].reshape(4, 4)
    assert (labels == labels[:, :1]).all() and len(set(labels[:, 0])) == 4
    assert (axes["down.weight", 0] == axes["up.weight", 0]).all()
    assert (axes["up.weight", 1] == axes["last.weight", 1]).all()


def test_without_a_weight_a_normalization_keeps_its_channels():
    axes = Groups(made(affine=False), IMAGES, 1).axes
    assert ("down.weight", 0) not in axes and ("up.weight", 1) in axes


@pytest.mark.parametrize("importance", ["magnitude", "fpgm", "random"])
@pytest.mark.parametrize("options", KINDS[:3], ids=str)
def test_it_is_pruned_to_a_goal_and_built_again(options, importance):
    network = made(**options)
    pruned = prune(network, IMAGES, goal=Goal("macs", 0.6, relative=True), align=1, importance=importance)
    assert pruned.after.macs <= 0.6 * pruned.before.macs and pruned.after == cost.count(pruned.network, 3, 16)
    fresh = made(**options)
    restructure(fresh, json.loads(json.dumps(differences(pruned.network, fresh))))
    fresh.load_state_dict(pruned.network.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.allclose(fresh(IMAGES), pruned.network(IMAGES), atol=1e-6)


def test_filters_of_a_transposed_convolution_are_judged_as_those_of_others():
    network = made(bias=False)
    with torch.no_grad():
        network.up.weight[:, 5:] *= 0.01
        network.last.weight[:] = 1
    groups = Groups(network, IMAGES, 1)
    judged = scores(network, groups, "magnitude")[groups.axes["up.weight", 1]]
    assert judged[:5].min() > judged[5:].max()


def test_groups_that_cannot_be_are_refused():
    with pytest.raises(WeightsError, match="15 channels in 4 groups"):
        restructure(made(), {"norm": {"num_channels": 15}})
