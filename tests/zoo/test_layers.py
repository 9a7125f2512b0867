"""Layers, receptive fields and memory, against published figures and networks small enough to do by hand."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgecnn import zoo
from edgecnn.errors import InvalidValueError
from edgecnn.zoo import formulas
from edgecnn.zoo.analysis.activation_memory import Use, live_bytes
from edgecnn.zoo.analysis.analyze import analyse, study
from edgecnn.zoo.cost import count

FIELDS = list(csv.DictReader((Path(__file__).parent / "receptive_fields.csv").open()))
#: One network of each way of building: branches, shortcuts, gates, attention, auxiliary heads, cells.
SEVERAL = (
    "lenet5", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "resnet18", "resnext50_32x4d",
    "se_resnet50", "googlenet", "googlenet_bn", "inception_v3", "inception_resnet_v2", "xception",
    "nasnet_mobile", "efficientnet_b0", "efficientnet_lite0", "vit_tiny", "vit_base", "swin_tiny",
)  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_totals_are_what_the_counter_counts(name):
    row = zoo.architecture(name)
    with torch.device("meta"):
        network = zoo.build(row)
    cost = count(network, row.in_channels, row.resolution)
    analysis = analyse(network, row.in_channels, row.resolution)
    assert (analysis.params, analysis.macs) == (cost.params, cost.macs)
    assert sum(analysis.mac_share.values()) == pytest.approx(1)
    names = [layer.name for layer in analysis.layers]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted({*SEVERAL} - {"googlenet_bn", "inception_v3"}))
def test_every_parameter_is_in_one_layer(name):
    analysis = study(name).analysis
    assert sum(layer.params for layer in analysis.layers) == analysis.params


def test_auxiliary_classifiers_are_in_no_layer():
    analysis = study("googlenet_bn").analysis
    assert analysis.params - sum(layer.params for layer in analysis.layers) == 13_004_888 - 6_624_904


@pytest.mark.parametrize("row", FIELDS, ids=lambda row: row["name"])
def test_receptive_field_before_global_pooling(row):
    assert study(row["name"]).analysis.receptive_field == int(row["field"])


def layers_of(network, channels=3, resolution=32):
    return {layer.name: layer for layer in analyse(network, channels, resolution).layers}


def test_a_stack_has_the_fields_of_the_formula():
    stack = [(3, 1), (3, 1), (2, 2), (3, 1), (3, 1), (3, 1), (2, 2)]
    network = nn.Sequential(
        *(nn.MaxPool2d(2) if kernel == 2 else nn.Conv2d(3, 3, 3, padding=1) for kernel, _ in stack)
    )
    found = analyse(network, 3, 32).layers
    for depth, layer in enumerate(found, start=1):
        assert (layer.receptive_field, layer.receptive_step) == formulas.receptive_field(stack[:depth])


def test_dilation_and_uneven_kernels():
    found = layers_of(nn.Sequential(nn.Conv2d(3, 3, (1, 7)), nn.Conv2d(3, 3, 3, dilation=4)))
    assert [layer.receptive_field for layer in found.values()] == [7, 15]
    assert found["0"].kernel == (1, 7)


class Branches(nn.Module):
    """A 5x5 beside a 3x3, concatenated."""

    def __init__(self):
        super().__init__()
        self.narrow, self.wide = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2)

    def forward(self, x):
        return torch.cat([self.narrow(x), self.wide(x)], 1)


def test_a_concatenation_sees_its_widest_branch():
    found = layers_of(Branches())
    assert found["cat"].kind == "concat" and found["cat"].shape == (8, 32, 32)
    assert found["cat"].receptive_field == 5 and found["narrow"].receptive_field == 3


def test_memory_of_a_concatenation():
    # x 3, narrow 4, wide 4, both together 8 maps of 32 x 32 float32.
    one = 32 * 32 * 4
    found = layers_of(Branches())
    assert [found[name].live_bytes / one for name in ("narrow", "wide", "cat")] == [
        3 + 4,
        3 + 4 + 4,
        4 + 4 + 8,
    ]


def test_memory_and_fields_of_a_dense_block():
    class Dense(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(4, 2, 3, padding=1), nn.Conv2d(6, 2, 3, padding=1)

        def forward(self, x):
            x = torch.cat([x, self.first(x)], 1)
            return torch.cat([x, self.second(x)], 1)

    # In maps of 32 x 32 float32: what is read and what is written.
    found = layers_of(Dense(), channels=4)
    maps = {name: layer.live_bytes // (32 * 32 * 4) for name, layer in found.items()}
    assert maps == {"first": 4 + 2, "cat": 4 + 2 + 6, "second": 6 + 2, "cat_1": 6 + 2 + 8}
    assert [layer.receptive_field for layer in found.values()] == [3, 3, 5, 5]


class Residual(nn.Module):
    """conv, norm, relu, conv, add, relu; 4 channels in and out."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv1, self.bn, self.relu = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        out = self.conv2(self.relu(self.bn(self.conv1(x))))
        return self.relu(out + x)


def test_memory_of_a_residual_block():
    # In maps: stem 3 + 4; conv1 4 + 4, in place twice; conv2 shortcut 4 + 4 + 4; add 12; relu in place.
    found = layers_of(Residual())
    maps = {name: layer.live_bytes // (32 * 32 * 4) for name, layer in found.items()}
    assert maps == {
        "stem": 7, "conv1": 8, "bn": 8, "relu": 8, "conv2": 12, "add": 12, "relu_1": 4
    }  # fmt: skip


def test_memory_of_a_chain_is_the_largest_neighbours():
    chain = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1), nn.Flatten(), nn.Linear(32 * 32 * 2, 10)
    )
    analysis = analyse(chain, 3, 32)
    assert analysis.peak_activation_bytes == 4 * 32 * 32 * (3 + 8) and analysis.peak_layer == "0"
    assert analysis.layers[-1].live_bytes == 4 * (32 * 32 * 2 + 10)


def test_an_activation_whose_input_is_needed_later_is_not_in_place():
    class Gated(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x)

    found = layers_of(Gated())
    one = 3 * 32 * 32 * 4
    assert found["sigmoid"].live_bytes == 2 * one and found["mul"].live_bytes == 3 * one


def test_views_and_padding_take_no_memory():
    class Views(nn.Module):
        def forward(self, x):
            first, second = F.pad(x, (1, 1)).chunk(2, 1)
            return F.max_pool2d(first, 2) + F.max_pool2d(second, 2)

    found = analyse(Views(), 2, 32).layers
    whole, pooled = 2 * 32 * 32 * 4, 16 * 17 * 4
    assert [layer.kind for layer in found] == ["max pool", "max pool", "add"]
    assert [layer.live_bytes for layer in found] == [whole + pooled, whole + 2 * pooled, 3 * pooled]


def test_liveness_of_buffers():
    uses = [Use((0,), 1, 10), Use((1,), 2, 10, replaces=True), Use((2,)), Use((0, 2), 3, 5)]
    assert live_bytes(0, 7, uses) == [17, 17, 17, 22]


def test_a_gate_does_not_widen_the_field_and_pooling_sees_everything():
    found = layers_of(zoo.create("mobilenet_v3_small"), resolution=224)
    pool = found["features.1.block.1.avgpool"]
    assert pool.kind == "global pool" and math.isinf(pool.receptive_field)
    assert (
        found["features.1.block.1.mul"].receptive_field == found["features.1.block.0.0"].receptive_field == 7
    )


def test_after_attention_no_field_is_defined_until_something_sees_everything():
    analysis = study("vit_tiny").analysis
    found = {layer.name: layer for layer in analysis.layers}
    assert found["patch_embed.proj"].receptive_field == 16 == found["blocks.0.attn.qkv"].receptive_field
    assert found["blocks.0.attn.matmul"].receptive_field is None is found["blocks.0.add"].receptive_field
    assert math.isinf(found["head"].receptive_field) and analysis.receptive_field is None


def test_attention_is_counted_apart():
    # Twice 197 x 197 x 192 in each of 12 blocks.
    analysis = study("vit_tiny").analysis
    assert analysis.attention_macs == 12 * 2 * 197 * 197 * 192
    assert analysis.mac_share["attention"] == pytest.approx(
        analysis.attention_macs / (analysis.macs + analysis.attention_macs)
    )


def test_kinds_of_convolution():
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 16, 3, groups=8), nn.Conv2d(16, 8, 1, groups=2)
    )
    assert [layer.kind for layer in analyse(network, 8, 32).layers] == [
        "conv", "1x1 conv", "depthwise conv", "grouped conv"
    ]  # fmt: skip


def test_intensity_of_one_convolution():
    # 2 * MACs over weights, input and output; the activation moves nothing of its own.
    analysis = analyse(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU()), 3, 32)
    macs, moved = 9 * 3 * 8 * 1024, 4 * (9 * 3 * 8 + 3 * 1024 + 8 * 1024)
    assert analysis.arithmetic_intensity == pytest.approx(2 * macs / moved)


def test_adaptive_pooling_has_the_window_of_its_sizes():
    (layer,) = analyse(nn.AdaptiveAvgPool2d(4), 3, 32).layers
    assert (layer.kernel, layer.stride, layer.receptive_field) == ((8, 8), (8, 8), 8)


def test_operations_in_place_are_rows_that_take_no_memory():
    (conv, relu) = analyse(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)), 3, 32).layers
    assert relu.kind == "activation" and relu.live_bytes == 3 * 32 * 32 * 4 < conv.live_bytes


def test_the_network_is_left_as_it_was():
    network = Residual().train()
    analyse(network, 3, 32)
    assert network.training and not network.conv1._forward_hooks
    assert all(p.device.type == "cpu" for p in network.parameters())


def test_an_impossible_input_is_an_error_with_the_networks_own_size():
    with pytest.raises(InvalidValueError, match="cannot take an input of 9 x 9 pixels") as caught:
        study("lenet5", resolution=9)
    assert "32" in caught.value.hint
    with pytest.raises(InvalidValueError):
        study("resnet18", resolution=0)


def test_json_is_strict():
    values = study("mobilenet_v1", alpha=0.25).to_json()
    json.dumps(values, allow_nan=False)
    assert values["layers"][-1]["receptive_field"] == "all"
