"""Checkpoints of torchvision and timm load with strict=True and give the same logits."""

import csv
from pathlib import Path

import pytest
import torch
from deep_networks import DEEP, named

from edgecnn import zoo
from edgecnn.parity import spread
from edgecnn.zoo.initialize import settle

CASES = list(csv.DictReader((Path(__file__).parent / "oracle.csv").open()))
#: Others of a family of which one is compared in the quick tests.
OTHERS = {
    *("efficientnet", "efficientnet_b1", "efficientnet_b2", "efficientnet_lite1", "efficientnet_lite2"),
    *("mnasnet0_75", "mnasnet1_0", "mnasnet1_3", "mobilenet_v3_large", "resnet34", "se_resnext50_32x4d"),
    *(
        "shufflenet_v2_x1_0",
        "shufflenet_v2_x1_5",
        "shufflenet_v2_x2_0",
        "squeezenet1_0",
        "vgg11",
        "vit_small",
    ),
}


@pytest.fixture(scope="module")
def libraries(torchvision):
    """What makes a network of torchvision or timm, by its name there."""
    import timm

    return {
        "torchvision": lambda name, **size: getattr(torchvision.models, name)(weights=None, **size),
        "timm": lambda name, **size: timm.create_model(name, pretrained=False, **size),
    }


@pytest.mark.parametrize("case", [named(row["name"], row, long=DEEP | OTHERS) for row in CASES])
@torch.inference_mode()
def test_their_weights_load_strictly_and_give_the_same_logits(case, libraries):
    torch.manual_seed(0)
    side = int(case["resolution"])
    size = {case["size_option"]: side} if case["size_option"] else {}
    theirs = libraries[case["library"]](case["reference_name"], **size).eval()
    architecture = zoo.architecture(case["name"])
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
