"""ResNet and its kin, GoogLeNet, Xception and the mobile networks: counts, widths, gradients, paper facts."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgecnn import zoo
from edgecnn.zoo import cost
from edgecnn.zoo.googlenet import Auxiliary, GoogLeNet, googlenet
from edgecnn.zoo.initialize import initialize
from edgecnn.zoo.mobilenet_v4 import UniversalInvertedBottleneck
from edgecnn.zoo.resnet import Bottleneck
from edgecnn.zoo.xception import SeparableConv

CARDINALITY = {"resnext50_32x4d": 32, "resnext101_32x8d": 32, "se_resnext50_32x4d": 32, "senet154": 64}


def build(name: str, alpha: float = 1.0, classes: int = 1000, channels: int = 3, **arguments: Any) -> Any:
    """Return a network without weights, for shapes and counts."""
    row = zoo.architecture(name)
    module, function = row.build.split(":")
    with torch.device("meta"):
        make = getattr(importlib.import_module(module), function)
        return make(alpha=alpha, num_classes=classes, in_channels=channels, **row.arguments, **arguments)


def modules(network: nn.Module, kind: type[nn.Module]) -> list[Any]:
    return [module for module in network.modules() if isinstance(module, kind)]


def shape_after(name: str, layer: str) -> tuple[int, ...]:
    """Return the shape of a layer's output at the network's own resolution."""
    network, shapes = build(name).eval(), []
    network.get_submodule(layer).register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    side = zoo.architecture(name).resolution
    network(torch.empty(1, 3, side, side, device="meta"))
    return shapes[0]


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_googlenet_trains_two_auxiliary_classifiers(name: str) -> None:
    network = zoo.create(name, alpha=0.25, num_classes=5) if name != "googlenet" else _paper_googlenet()
    heads = network.train()(torch.randn(4, 3, 64, 64))
    assert [head.shape for head in heads] == [(4, 5)] * 3
    torch.stack(heads).square().sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def _paper_googlenet() -> GoogLeNet:
    network = googlenet(alpha=0.25, num_classes=5, in_channels=3, aux=True)
    initialize(network)
    return network


@pytest.mark.parametrize(
    ("name", "depth"),
    [
        ("resnet101", 101), ("resnet152", 152), ("wide_resnet50_2", 50), ("resnext50_32x4d", 50),
        ("resnext101_32x8d", 101), ("se_resnet50", 50), ("se_resnext50_32x4d", 50), ("senet154", 154),
    ],
)  # fmt: skip
def test_the_name_says_how_many_layers_an_image_passes(name: str, depth: int) -> None:
    network = build(name)
    assert len(modules(network.conv1, nn.Conv2d)) + 3 * len(modules(network, Bottleneck)) + 1 == depth


@pytest.mark.parametrize("name", CARDINALITY)
@pytest.mark.parametrize("alpha", [0.25, 0.75, 1.0, 1.4])
def test_no_width_changes_the_cardinality(name: str, alpha: float) -> None:
    blocks = modules(build(name, alpha), Bottleneck)
    assert {block.conv2.groups for block in blocks} == {CARDINALITY[name]}


def test_resnext_50_costs_what_resnet_50_does() -> None:
    """Table 1 of Xie et al.: 25.0 against 25.5 million parameters."""
    ours, plain = (cost.count(build(name), 3, 224) for name in ("resnext50_32x4d", "resnet50"))
    assert plain.params / 1e6 == pytest.approx(25.5, abs=0.1)
    assert ours.params / 1e6 == pytest.approx(25.0, abs=0.1)
    assert abs(ours.macs / plain.macs - 1) < 0.04


def test_wide_resnet_is_twice_as_wide_inside_only() -> None:
    for wide, plain in zip(
        modules(build("wide_resnet50_2"), Bottleneck), modules(build("resnet50"), Bottleneck), strict=True
    ):
        assert wide.conv2.out_channels == 2 * plain.conv2.out_channels
        assert wide.conv3.out_channels == plain.conv3.out_channels


def test_squeeze_and_excitation_adds_the_weights_of_equation_5() -> None:
    """2 / r times the sum of N C^2 over the stages, and here a bias for each unit."""
    stages = ((3, 256), (4, 512), (6, 1024), (3, 2048))
    weights = 2 * sum(blocks * channels**2 for blocks, channels in stages) // 16
    biases = sum(blocks * (channels + channels // 16) for blocks, channels in stages)
    more = cost.count(build("se_resnet50"), 3, 64).params - cost.count(build("resnet50"), 3, 64).params
    assert more == weights + biases


def test_senet154_halves_the_first_width_and_strides_with_3x3() -> None:
    network = build("senet154")
    assert all(b.conv1.out_channels * 2 == b.conv2.out_channels for b in modules(network, Bottleneck))
    strided = [b.downsample[0] for b in modules(network, Bottleneck) if b.conv2.stride == (2, 2)]
    assert [conv.kernel_size for conv in strided] == [(3, 3)] * 3


def test_googlenet_is_22_layers_deep() -> None:
    """Section 5 of the paper: 22 layers with parameters, an inception module counting two."""
    network = build("googlenet")
    deepest = sum(len(m.branch2) for name, m in network.named_children() if name.startswith("inception"))
    assert len((network.conv1, network.conv2, network.conv3)) + deepest + len([network.fc]) == 22


def test_googlenet_has_what_the_paper_has_and_torchvisions_has_not() -> None:
    paper, later = build("googlenet"), build("googlenet_bn")
    assert (len(modules(paper, nn.LocalResponseNorm)), len(modules(later, nn.LocalResponseNorm))) == (2, 0)
    kernels = [{c.kernel_size[0] for c in modules(network, nn.Conv2d)} for network in (paper, later)]
    assert kernels == [{1, 3, 5, 7}, {1, 3, 7}]
    assert all(conv.bias is not None for conv in modules(paper, nn.Conv2d))
    assert not modules(paper, nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("pool1", (64, 56, 56)), ("pool2", (192, 28, 28)), ("inception3b", (480, 28, 28)),
        ("inception4a", (512, 14, 14)), ("inception4e", (832, 14, 14)), ("inception5b", (1024, 7, 7)),
    ],
)  # fmt: skip
def test_googlenet_has_the_shapes_of_table_1(layer: str, shape: tuple[int, ...]) -> None:
    assert shape_after("googlenet", layer) == (1, *shape)
    assert shape_after("googlenet_bn", layer) == (1, *shape)


def test_auxiliary_classifiers_are_for_training() -> None:
    network = googlenet(alpha=0.25, num_classes=5, in_channels=3, aux=True)
    images = torch.zeros(1, 3, 64, 64)
    assert len(modules(network, Auxiliary)) == 2
    assert len(network.train()(images)) == 3
    assert isinstance(network.eval()(images), Tensor)
    assert not modules(build("googlenet"), Auxiliary)


def test_xception_has_36_convolutional_layers() -> None:
    """Section 4 of the paper; all but the two of the stem are separable."""
    network = build("xception")
    assert len(modules(network, SeparableConv)) + len([network.conv1, network.conv2]) == 36


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("conv1", (32, 149, 149)), ("block3", (728, 19, 19)), ("block11", (728, 19, 19)),
        ("block12", (1024, 10, 10)), ("bn4", (2048, 10, 10)),
    ],
)  # fmt: skip
def test_xception_has_the_shapes_of_figure_5(layer: str, shape: tuple[int, ...]) -> None:
    assert shape_after("xception", layer) == (1, *shape)


@pytest.mark.parametrize(("name", "millions"), [("mobilenet_v3_large", 4.0), ("mobilenet_v3_small", 2.0)])
def test_mobilenet_v3_at_three_quarters_is_the_papers(name: str, millions: float) -> None:
    assert round(cost.count(build(name, 0.75), 3, 224).params / 1e6, 1) == millions


def test_mobilenet_v4_conv_small_needs_no_operator_but_the_commonest() -> None:
    leaves = {
        type(module) for module in build("mobilenet_v4_conv_small").modules() if not list(module.children())
    }
    usual = {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Linear, nn.AdaptiveAvgPool2d, nn.Identity}
    assert leaves == usual


def test_mobilenet_v4_uses_three_forms_of_its_bottleneck() -> None:
    blocks = modules(build("mobilenet_v4_conv_small"), UniversalInvertedBottleneck)
    forms = [tuple(isinstance(part, nn.Identity) for part in (b.dw_start, b.dw_mid)) for b in blocks]
    extra, inverted, convnext = (forms.count(form) for form in ((False, False), (True, False), (False, True)))
    assert (extra, inverted, convnext) == (3, 8, 1)


@pytest.mark.parametrize(("name", "alpha"), [("mnasnet0_5", 1.0), ("mnasnet1_0", 0.5)])
def test_mnasnet_ends_in_1280_channels_however_narrow(name: str, alpha: float) -> None:
    assert build(name, alpha).classifier[1].in_features == 1280
