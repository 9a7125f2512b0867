"""Channels go out of detectors and segmenters as out of classifiers: labels flow through their heads."""

import json

import pytest
import torch

from edgecnn.compress.prune.goal import Goal
from edgecnn.compress.prune.prune_network import prune
from edgecnn.zoo.network_outputs import named
from edgecnn.zoo.open_network import bare, open_network
from edgecnn.zoo.spec import NetworkSpec
from edgecnn.zoo.structure import differences, restructure

QUICK = ("ssdlite", "fcos")
HEADS = [
    pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK))
    for name in (
        "ssd",
        "ssdlite",
        "retinanet",
        "fcos",
        "yolox",
        "yolox_nano",
        "fcn",
        "deeplabv3",
        "lraspp",
        "unet",
    )
]


@pytest.mark.parametrize("name", HEADS)
def test_so_many_macs_less_and_built_again(name):
    alpha = {"yolox_nano": 1.0, "retinanet": 0.5, "fcos": 0.5}.get(name, 0.25)
    spec = NetworkSpec(name, alpha=alpha, resolution="64x96", num_classes=3)
    network, image = open_network(spec).network, torch.randn(1, 3, 64, 96)
    before = {key: item.shape for key, item in named(network(image)).items()}
    share = 0.7 if name == "fcos" else 0.5  # what is normalized in groups stays
    pruned = prune(network, image, goal=Goal.parse("macs", f"{share}x"))
    assert share - 0.1 < pruned.after.macs / pruned.before.macs <= share
    fresh = bare(spec).eval()
    restructure(fresh, json.loads(json.dumps(differences(pruned.network, fresh))))
    fresh.load_state_dict(pruned.network.state_dict(), strict=True)
    with torch.no_grad():
        ours, theirs = named(pruned.network(image)), named(fresh(image))
    assert {key: item.shape for key, item in ours.items()} == before
    for key, item in ours.items():
        torch.testing.assert_close(item, theirs[key])
