"""Checkpoints of torchvision and timm load with strict=True and give the same logits."""

import csv
from pathlib import Path

import pytest
import torch

from edgecnn import zoo

CASES = list(csv.DictReader((Path(__file__).parent / "oracle.csv").open()))


@pytest.fixture(scope="module")
def libraries():
    """torchvision and timm, beside a PyTorch that lacks two of the operators that they declare."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm
    import torchvision

    make = {
        "torchvision": lambda name: getattr(torchvision.models, name)(weights=None),
        "timm": lambda name: timm.create_model(name, pretrained=False),
    }
    yield make
    del library


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@torch.inference_mode()
def test_their_weights_load_strictly_and_give_the_same_logits(case, libraries):
    torch.manual_seed(0)
    theirs = libraries[case["library"]](case["reference_name"]).eval()
    for module in theirs.modules():
        # At their start values the statistics are the identity, and a mistake there would not show.
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    architecture, side = zoo.architecture(case["name"]), int(case["resolution"])
    ours = zoo.build(architecture, resolution=side).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.randn(2, architecture.in_channels, side, side)
    expected = theirs(images)
    assert expected.std() > 0
    assert float((ours(images) - expected).abs().max() / expected.std()) < 1e-5
