"""LeNet 1989, AlexNet, ZFNet, VGG, SqueezeNet, DenseNet, ShuffleNet: counts, widths, gradients, facts."""

import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgecnn import zoo
from edgecnn.errors import InvalidValueError
from edgecnn.zoo import cost
from edgecnn.zoo.blocks import AdaptivePool
from edgecnn.zoo.counts import known
from edgecnn.zoo.initialize import initialize
from edgecnn.zoo.shufflenet import ShuffleUnit, shuffle

#: Smallest input of the networks whose classifier follows the resolution.
SIZES = {"lenet_1989": 16, "alexnet": 67, "zfnet": 48}


def build(name: str, size: int | None = None, device: str = "meta", **arguments) -> nn.Module:
    row = zoo.architecture(name)
    module, function = row.build.split(":")
    given = {"alpha": 1.0, "num_classes": row.num_classes, "in_channels": row.in_channels}
    if row.needs_resolution:
        given["resolution"] = size or row.resolution
    with torch.device(device):
        return getattr(importlib.import_module(module), function)(**{**given, **row.arguments, **arguments})


def layers(network: nn.Module, *kinds: type[nn.Module]) -> list:
    return [module for module in network.modules() if isinstance(module, kinds)]


def sides(name: str, *kinds: type[nn.Module]) -> list[int]:
    """Heights of the outputs of the layers of these kinds, in the order in which they run."""
    found: list[int] = []
    network, row = build(name).eval(), zoo.architecture(name)
    for module in layers(network, *kinds):
        module.register_forward_hook(lambda _, inputs, out: found.append(out.shape[2]))
    network(torch.empty(1, row.in_channels, row.resolution, row.resolution, device="meta"))
    return found


@pytest.mark.parametrize("name", SIZES)
def test_classifier_follows_the_resolution(name):
    for size in range(SIZES[name], SIZES[name] + 9):
        network = build(name, size, alpha=0.25).eval()
        channels = zoo.architecture(name).in_channels
        assert network(torch.empty(1, channels, size, size, device="meta")).shape[0] == 1


@pytest.mark.parametrize("name", ("alexnet", "zfnet"))
def test_an_input_that_is_too_small_is_refused(name):
    for size in (8, 16, 24, 32):
        with pytest.raises(InvalidValueError, match="too small"):
            build(name, size)


@pytest.mark.parametrize("size", (1, 2, 5, 7, 10, 14, 17))
def test_adaptive_pooling_is_pytorchs(size):
    images = torch.randn(2, 3, size, size + 1)
    torch.testing.assert_close(AdaptivePool(7)(images), F.adaptive_avg_pool2d(images, 7))


def test_lenet_1989_has_the_papers_connections():
    network = build("lenet_1989")
    # "1256 units, 64,660 connections, and 9760 independent parameters": each unit's bias is a connection.
    biases = sum(item.numel() for key, item in network.named_parameters() if key.endswith("bias"))
    assert cost.count(network, 1, 16).macs + biases == 64_660
    assert 16 * 16 + biases == 1256
    assert {key: tuple(item.shape) for key, item in network.named_parameters() if key.startswith("h2")} == {
        "h2.bias": (12, 4, 4),
        "h2.conv.weight": (12, 8, 5, 5),
    }


def test_lenet_1989_squashes_one_to_one():
    network = build("lenet_1989", device="cpu")
    torch.testing.assert_close(network.act(torch.tensor([-1.0, 0.0, 1.0])), torch.tensor([-1.0, 0.0, 1.0]))


def test_lenet_1989_starts_within_the_papers_bounds():
    network = build("lenet_1989", device="cpu")
    initialize(network, 0)
    for module, fan_in in ((network.h1.conv, 25), (network.h2.conv, 200), (network.h3, 192)):
        assert 0.9 * 2.4 / fan_in < module.weight.abs().max() <= 2.4 / fan_in


def test_alexnet_is_the_original():
    network = build("alexnet")
    convolutions = layers(network, nn.Conv2d)
    assert [module.groups for module in convolutions] == [1, 2, 1, 2, 2]
    assert sides("alexnet", nn.Conv2d) == [55, 27, 13, 13, 13]
    assert {(pool.kernel_size, pool.stride) for pool in layers(network, nn.MaxPool2d)} == {(3, 2)}
    assert len(layers(network, nn.Dropout)) == 2


def test_alexnet_normalizes_as_the_paper_says():
    images = torch.randn(2, 8, 3, 3) * 50
    network = build("alexnet", device="meta")
    squares = F.pad(images.square(), (0, 0, 0, 0, 2, 2))
    total = sum(squares[:, shift : shift + 8] for shift in range(5))
    expected = images / (2 + 1e-4 * total) ** 0.75
    for norm in layers(network, nn.LocalResponseNorm):
        torch.testing.assert_close(norm(images), expected)


def test_zfnet_has_the_papers_feature_maps():
    network = build("zfnet")
    assert [(item.kernel_size[0], item.stride[0]) for item in layers(network, nn.Conv2d)[:2]] == [
        (7, 2),
        (5, 2),
    ]
    assert sides("zfnet", nn.Conv2d, nn.MaxPool2d) == [110, 55, 26, 13, 13, 13, 13, 6]


@pytest.mark.parametrize("depth", (11, 13, 16, 19))
def test_vgg_has_depth_weight_layers_and_only_3x3(depth):
    network = build(f"vgg{depth}_bn")
    assert {module.kernel_size for module in layers(network, nn.Conv2d)} == {(3, 3)}
    assert len(layers(network, nn.Conv2d, nn.Linear)) == depth
    assert sides(f"vgg{depth}", nn.MaxPool2d) == [112, 56, 28, 14, 7]


def test_squeezenet_is_fifty_times_smaller_than_alexnet():
    small, large = (known()[name]["params"] for name in ("squeezenet1_0", "alexnet"))
    assert large / small > 48
    assert known()["squeezenet1_0"]["macs"] / known()["squeezenet1_1"]["macs"] > 2.3
    assert not layers(build("squeezenet1_0"), nn.Linear)


@pytest.mark.parametrize(("depth", "channels"), ((121, 1024), (161, 2208), (169, 1664), (201, 1920)))
def test_densenet_grows_by_its_rate(depth, channels):
    network = build(f"densenet{depth}")
    growth = 48 if depth == 161 else 32
    grown = [module for module in layers(network, nn.Conv2d) if module.kernel_size == (3, 3)]
    assert {(module.in_channels, module.out_channels) for module in grown} == {(4 * growth, growth)}
    assert network.classifier.in_features == channels
    assert len(layers(network, nn.Conv2d, nn.Linear)) == depth


def test_shuffle_interleaves_groups():
    order = shuffle(torch.arange(6.0).reshape(1, 6, 1, 1), 3).flatten().tolist()
    assert order == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(("groups", "millions"), ((1, 143), (2, 140), (3, 137), (4, 133), (8, 137)))
def test_shufflenet_costs_what_table_2_says(groups, millions):
    assert known()[f"shufflenet_v1_g{groups}"]["macs"] / 1e6 == pytest.approx(millions, abs=1.4)


def test_shufflenet_v1_groups_all_pointwise_layers_but_the_first():
    network = build("shufflenet_v1_g3")
    units = layers(network, ShuffleUnit)
    assert [unit.conv1.groups for unit in units] == [1] + [3] * 15
    assert {unit.conv3.groups for unit in units} == {3}
    assert all(unit.conv2.groups == unit.conv2.in_channels == unit.conv3.in_channels for unit in units)


def test_shufflenet_v2_narrows_only_its_stages():
    network = build("shufflenet_v2_x1_0", alpha=0.5)
    assert (network.conv1[0].out_channels, network.conv5[0].out_channels) == (24, 1024)
    assert network.conv5[0].in_channels == 232 + 8  # each half rounded to eight
