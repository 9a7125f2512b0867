"""Groups against torch-pruning's dependency graph, and costs against counting the pruned network."""

import numpy as np
import pytest
import torch
import torch_pruning
from torch import nn

from edgecnn import zoo
from edgecnn.compress.prune.channel_groups import Groups
from edgecnn.compress.prune.importance import scores
from edgecnn.compress.prune.prune_network import without
from edgecnn.zoo import cost

#: Families that torch-pruning 1.6.1 traces rightly.
KNOWN = ("resnet18", "mobilenet_v2", "densenet121", "squeezenet1_1", "efficientnet_b0", "googlenet_bn")


def opened(name, side=32):
    network = zoo.create(name, alpha=0.5, num_classes=10, resolution=side)
    return network, torch.zeros(1, 3, side, side)


def graph_of(network, example):
    """Yield each of torch-pruning's groups, with (tensor, axis, positions, roots) of its members."""
    graph = torch_pruning.DependencyGraph().build_dependency(network, example, verbose=False)
    names = {module: name for name, module in network.named_modules()}
    classifier = [
        m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) and len(m.weight) == 10
    ]
    for group in graph.get_all_groups(ignored_layers=classifier):
        members = []
        for item in group:
            module = item.dep.target.module
            if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
                depthwise = isinstance(module, nn.Conv2d) and module.groups == module.out_channels > 1
                axis = 0 if depthwise or graph.is_out_channel_pruning_fn(item.dep.handler) else 1
                axis = 0 if isinstance(module, nn.BatchNorm2d) else axis
                members.append((f"{names[module]}.weight", axis, item.idxs, item.root_idxs))
        yield group, members


class Scaled(nn.Module):
    """Two convolutions, and between them a factor for each channel, which the module holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 10, 1)
        self.gamma = nn.Parameter(torch.rand(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (self.first(x).permute(0, 2, 3, 1) * self.gamma).permute(0, 3, 1, 2)
        return self.second(x).mean((2, 3))


def test_a_vector_of_factors_goes_with_the_channels_that_it_scales():
    axes = Groups(Scaled(), torch.zeros(1, 3, 8, 8), 1).axes
    assert (axes["gamma", 0] == axes["first.weight", 0]).all()
    assert (axes["gamma", 0] == axes["second.weight", 1]).all()


@pytest.mark.parametrize("name", KNOWN)
def test_groups_are_those_of_torch_pruning(name):
    network, example = opened(name)
    axes = Groups(network, example, 1).axes
    compared = 0
    for _, members in graph_of(network, example):
        root, axis, _, _ = members[0]
        labels = axes[root, axis]
        # Everywhere that the other graph finds a channel, ours has its label, and nowhere else.
        for tensor, other_axis, positions, roots in members:
            assert (axes[tensor, other_axis][positions] == labels[roots]).all()
        theirs = {(tensor, axis) for tensor, axis, _, _ in members}
        ours = {key for key, found in axes.items() if np.isin(found, labels).any()}
        # Auxiliary classifiers, which only training runs, are not in the other graph.
        ours = {key for key in ours if key[0].endswith("weight") and not key[0].startswith("aux")}
        assert ours == theirs
        compared += len(members)
    assert compared > 20


# No network with depthwise convolutions: torch-pruning leaves their weights out of the mean.
@pytest.mark.parametrize(
    "name", ["resnet18", pytest.param("densenet121", marks=pytest.mark.slow), "squeezenet1_1"]
)
def test_magnitude_is_that_of_torch_pruning(name):
    network, example = opened(name)
    groups = Groups(network, example, 1)
    ours = scores(network, groups, "magnitude")
    judge = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    for group, members in graph_of(network, example):
        labels = groups.axes[members[0][:2]]
        np.testing.assert_allclose(ours[labels], judge(group).numpy(), rtol=1e-4)


@pytest.mark.parametrize("name", ["resnext50_32x4d", "vit_tiny", "googlenet_bn"])
def test_costs_are_predicted(name):
    network, example = opened(name)
    groups = Groups(network, example, 8)
    keep = groups.everything()
    rng = np.random.default_rng(0)
    for group in groups.groups:
        keep[rng.permutation(group.labels)[: len(group.labels) - rng.choice(group.counts)]] = False
    found = cost.count(without(network, groups, keep), 3, 32)
    assert groups.cost(keep) == found
    assert found.macs < groups.cost(groups.everything()).macs


def test_counts_are_the_width_and_multiples_of_the_alignment_below_it():
    network = nn.Sequential(nn.Conv2d(3, 20, 1), nn.Conv2d(20, 8, 1), nn.Conv2d(8, 5, 1))
    groups = Groups(network, torch.zeros(1, 3, 4, 4), 8)
    assert [group.counts for group in groups.groups] == [(8, 16, 20)]


def test_channels_that_groups_tie_count_together():
    network = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 1, groups=4), nn.Conv2d(32, 5, 1))
    groups = Groups(network, torch.zeros(1, 3, 4, 4), 8)
    # Four channels go at a time: two of the eight quadruples are eight channels.
    assert [(group.each, group.counts) for group in groups.groups] == [(4, (2, 4, 6, 8))] * 2
