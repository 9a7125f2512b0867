import json

import pytest
import torch
from torch import nn

from edgecnn import zoo
from edgecnn.errors import WeightsError
from edgecnn.zoo.structure import differences, from_shapes, restructure


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.embedding = nn.Parameter(torch.ones(1, 4, 8))
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, 5)


CHANGES = {
    "": {"embedding": [1, 4, 6]},
    "conv": {"out_channels": 6},
    "depthwise": {"in_channels": 6, "out_channels": 6, "groups": 6},
    "grouped": {"in_channels": 6, "out_channels": 4},
    "bn": {"num_features": 4},
    "norm": {"normalized_shape": [6]},
    "fc": {"in_features": 6},
}


def test_restructured_layers_have_the_shapes_of_their_sizes():
    network = Small()
    restructure(network, CHANGES)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes == {
        "embedding": (1, 4, 6),
        "conv.weight": (6, 3, 3, 3),
        "conv.bias": (6,),
        "depthwise.weight": (6, 1, 3, 3),
        "depthwise.bias": (6,),
        "grouped.weight": (4, 3, 1, 1),
        "bn.weight": (4,),
        "bn.bias": (4,),
        "bn.running_mean": (4,),
        "bn.running_var": (4,),
        "bn.num_batches_tracked": (),
        "norm.weight": (6,),
        "norm.bias": (6,),
        "fc.weight": (5, 6),
        "fc.bias": (5,),
    }


def test_restructured_layers_compute():
    network = Small()
    restructure(network, CHANGES)
    x = network.bn(network.grouped(network.depthwise(network.conv(torch.randn(2, 3, 8, 8)))))
    assert x.shape == (2, 4, 4, 4)


def test_differences_are_what_was_changed_and_survive_json():
    network = Small()
    restructure(network, CHANGES)
    assert json.loads(json.dumps(differences(network, Small()))) == CHANGES


def test_a_network_as_built_has_no_differences():
    assert differences(Small(), Small()) == {}


def test_structure_from_shapes_is_that_of_the_differences():
    network = Small()
    restructure(network, CHANGES)
    shapes = {
        name: tuple(item.shape) for name, item in (*network.named_parameters(), *network.named_buffers())
    }
    assert from_shapes(Small(), shapes) == CHANGES


def test_frozen_parameters_stay_frozen():
    network = Small()
    network.conv.weight.requires_grad_(False)
    restructure(network, CHANGES)
    assert not network.conv.weight.requires_grad and network.fc.weight.requires_grad


def test_networks_of_different_architectures_are_not_compared():
    with pytest.raises(WeightsError, match="not of one architecture"):
        differences(zoo.build(zoo.architecture("resnet18")), zoo.build(zoo.architecture("vgg11")))


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        ({"missing": {"out_channels": 4}}, "does not have: 'missing'"),
        ({"conv": {"stride": 2}}, "pruning does not change"),
        ({"conv": {"forward": 2}}, "pruning does not change"),
        ({"conv": {"out_channels": 0}}, "cannot be"),
        ({"conv": {"out_channels": 2.5}}, "cannot be"),
        ({"conv": {"out_channels": True}}, "cannot be"),
        ({"conv": {"out_channels": [4]}}, "cannot be"),
        ({"conv": {"out_channels": 10**9}}, "cannot be"),
        ({"": {"embedding": [4, 6]}}, "cannot be"),
        ({"": {"training": 1}}, "pruning does not change"),
        ({"grouped": {"out_channels": 5}}, "in 2 groups"),
    ],
)
def test_a_bad_structure_is_refused(structure, reason):
    with pytest.raises(WeightsError, match=reason):
        restructure(Small(), structure)
