"""Checkpoints of torchvision and timm load with strict=True and give the same logits."""

import csv
from pathlib import Path

import pytest
import torch

from edgecnn import zoo
from edgecnn.parity import spread
from edgecnn.zoo.initialize import settle

CASES = list(csv.DictReader((Path(__file__).parent / "oracle.csv").open()))
#: Deeper or wider than another case that is built by the same code; all of them together take longest.
LARGE = {
    *("densenet161", "densenet169", "densenet201", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5"),
    *("efficientnet_b6", "efficientnet_b7", "efficientnet_lite3", "efficientnet_lite4"),
    *("resnet101", "resnet152", "resnext101_32x8d", "wide_resnet50_2"),
    *("vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "nasnet_large", "senet154", "vit_base"),
}


def case_of(row: dict[str, str]):
    return pytest.param(row, id=row["name"], marks=[pytest.mark.slow] if row["name"] in LARGE else [])


@pytest.fixture(scope="module")
def libraries(torchvision):
    """What makes a network of torchvision or timm, by its name there."""
    import timm

    return {
        "torchvision": lambda name, **size: getattr(torchvision.models, name)(weights=None, **size),
        "timm": lambda name, **size: timm.create_model(name, pretrained=False, **size),
    }


@pytest.mark.parametrize("case", map(case_of, CASES))
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
