"""Checkpoints of torchvision and timm load with strict=True and give the same logits."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from deep_networks import DEEP, named

from edgecnn import zoo
from edgecnn.parity import spread
from edgecnn.zoo.initialize import settle
from edgecnn.zoo.resnet import DEPTHS

CASES = list(csv.DictReader((Path(__file__).parent / "oracle.csv").open()))
#: Others of which a part, or a network of the same blocks, is compared in the quick tests.
OTHERS = {"efficientnet", "mobilenet_v3_large", "senet154", "squeezenet1_0", "vgg11"}


@pytest.fixture(scope="module")
def libraries(torchvision):
    """What makes a network of torchvision or timm, by its name there."""
    import timm

    return {
        "torchvision": lambda name, **size: getattr(torchvision.models, name)(weights=None, **size),
        "timm": lambda name, **size: timm.create_model(name, pretrained=False, **size),
    }


@pytest.mark.parametrize("case", [named(row["name"], row, long=DEEP | OTHERS) for row in CASES])
def test_their_weights_load_strictly_and_give_the_same_logits(case, libraries):
    check_logits(case, libraries)


def test_senet154_with_a_block_in_each_stage_is_theirs(libraries, monkeypatch):
    """Its blocks, stem and shortcuts are its own; 48 blocks more take seconds."""
    layers = (1, 1, 1, 1)
    monkeypatch.setitem(DEPTHS, 152, (DEPTHS[152][0], layers))
    (case,) = [row for row in CASES if row["name"] == "senet154"]
    check_logits(case, libraries, layers=layers)


def test_convnext_with_a_block_in_each_stage_is_theirs(libraries):
    row, layers = zoo.architecture("convnext_tiny"), (1, 1, 1, 1)
    row = replace(row, arguments={**row.arguments, "layers": layers})
    (case,) = [row for row in CASES if row["name"] == "convnext_tiny"]
    check_logits(case, libraries, row, depths=layers, dims=(96, 192, 384, 768))


@torch.inference_mode()
def check_logits(case, libraries, architecture=None, **size):
    torch.manual_seed(0)
    side = int(case["resolution"])
    if case["size_option"]:
        size[case["size_option"]] = side
    theirs = libraries[case["library"]](case["reference_name"], **size).eval()
    architecture = architecture or zoo.architecture(case["name"])
    # In double precision: a deep untrained network amplifies the rounding of two orders of summation.
    theirs = theirs.double()
    images = torch.randn(3, architecture.in_channels, side, side, dtype=torch.float64)
    # As they start, logits hardly depend on the image, and a mistake in a normalization would not show.
    settle(theirs, images)
    for module in theirs.modules():
        if isinstance(module, torch.nn.Linear) and not module.weight.any():
            module.weight.normal_()  # a classifier that starts at zero would hide everything
    with torch.device("meta"):  # all of it is loaded
        ours = zoo.build(architecture, resolution=side).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True, assign=True)
    expected = theirs(images)
    assert spread(expected.numpy()) > 0.1
    assert float((ours(images) - expected).abs().max() / expected.std()) < 1e-8
