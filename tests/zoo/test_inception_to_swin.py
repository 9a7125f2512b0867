"""Inception, NASNet, EfficientNet and the transformers: counts, widths, gradients, facts of each."""

import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgecnn import zoo
from edgecnn.errors import InvalidValueError
from edgecnn.zoo import cost
from edgecnn.zoo.blocks import StochasticDepth, attend
from edgecnn.zoo.compound import compound
from edgecnn.zoo.nasnet import Halve
from edgecnn.zoo.swin import WindowAttention


def build(name: str, size: int | None = None, device: str = "meta", **arguments) -> nn.Module:
    row = zoo.architecture(name)
    module, function = row.build.split(":")
    given = {"alpha": 1.0, "num_classes": 1000, "in_channels": 3, **row.arguments, **arguments}
    if row.needs_resolution:
        given["resolution"] = size or row.resolution
    with torch.device(device):
        return getattr(importlib.import_module(module), function)(**given)


def kernels(network: nn.Module) -> set[tuple[int, ...]]:
    return {module.kernel_size for module in network.modules() if isinstance(module, nn.Conv2d)}


def test_weights_are_drawn_from_the_seed():
    for name in ("vit_tiny", "vit_base", "swin_tiny"):
        first, second, other = (
            zoo.create(name, alpha=0.25, resolution=32, seed=seed).state_dict() for seed in (1, 1, 2)
        )
        assert all(torch.equal(first[key], second[key]) for key in first)
        drawn = [key for key in first if "pos" in key and first[key].is_floating_point()]
        assert drawn
        assert not any(torch.equal(first[key], other[key]) for key in drawn)


def test_inception_v2_has_no_5x5():
    assert kernels(build("inception_v2")) == {(7, 7), (1, 1), (3, 3)}


def test_inception_v3_factorizes_7x7():
    assert {(1, 7), (7, 1), (1, 3), (3, 1)} < kernels(build("inception_v3"))
    assert (7, 7) not in kernels(build("inception_v3"))


def test_inception_v3_has_its_auxiliary_classifier_in_training_only():
    network = build("inception_v3", alpha=0.25, num_classes=7)
    for size in (96, 299):
        image = torch.empty(2, 3, size, size, device="meta")
        assert [out.shape for out in network.train()(image)] == [(2, 7), (2, 7)]
        assert network.eval()(image).shape == (2, 7)


def test_inception_resnet_v2_scales_its_residuals():
    network = build("inception_resnet_v2")
    assert [network.repeat[0].factor, network.repeat_1[0].factor, network.repeat_2[0].factor] == [
        0.17,
        0.1,
        0.2,
    ]
    assert [len(network.repeat), len(network.repeat_1), len(network.repeat_2)] == [10, 20, 9]


def test_nasnet_mobile_costs_what_the_paper_says():
    macs = cost.count(build("nasnet_mobile"), 3, 224).macs
    assert macs == pytest.approx(564e6, rel=1e-3)  # table 3 of the paper


@pytest.mark.parametrize("size", [8, 9])
def test_nasnet_pools_with_same_padding(size):
    image = torch.randn(1, 2, size, size)
    left = size % 2
    padded = F.pad(image, (left, 1, left, 1), value=-torch.inf)
    assert torch.equal(Halve("max")(image), F.max_pool2d(padded, 3, 2))
    assert Halve("avg")(image).shape == Halve("max")(image).shape == (1, 2, -(-size // 2), -(-size // 2))


def test_phi_0_is_efficientnet_b0():
    assert compound(0) == (1, 1, 1)
    ours, published = build("efficientnet").state_dict(), build("efficientnet_b0").state_dict()
    assert {key: item.shape for key, item in ours.items()} == {
        key: item.shape for key, item in published.items()
    }


def test_phi_scales_depth_width_and_resolution():
    assert compound(2) == pytest.approx((1.44, 1.21, 1.3225))
    assert compound(-0.5)[0] == pytest.approx(1.2**-0.5)
    macs = [
        cost.count(build("efficientnet", phi=phi), 3, round(224 * compound(phi)[2])).macs for phi in (0, 2)
    ]
    assert 3 < macs[1] / macs[0] < 5  # equation 3: each unit about doubles the cost


@pytest.mark.parametrize("phi", [float("nan"), float("inf"), -7, 11])
def test_an_absurd_phi_is_refused(phi):
    with pytest.raises(InvalidValueError, match="phi must be between"):
        compound(phi)


def test_efficientnet_drops_later_blocks_more():
    rates = [item.p for item in build("efficientnet_b0").modules() if isinstance(item, StochasticDepth)]
    assert len(rates) == 16
    assert rates == pytest.approx([0.2 * index / 16 for index in range(16)])


def test_stochastic_depth_drops_whole_images_in_training():
    torch.manual_seed(0)
    layer, ones = StochasticDepth(0.25), torch.ones(4000, 2, 3)
    out = layer.train()(ones)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(out, out[:, :1, :1].expand_as(out))
    assert float(out.mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(layer.eval()(ones), ones)


def test_attention_is_the_scaled_dot_product():
    q, k, v = torch.randn(3, 2, 4, 5, 8)  # each (images, heads, tokens, channels)
    qkv = torch.cat([part.transpose(1, 2).flatten(2) for part in (q, k, v)], -1)
    expected = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(qkv, 4), expected)


def test_vision_transformers_scale_by_whole_heads():
    heads = [build("vit_small", alpha=alpha).blocks[0].attn.heads for alpha in (0.25, 0.5, 1.0, 1.4)]
    assert heads == [2, 3, 6, 8]


def test_vision_transformers_take_any_multiple_of_16():
    assert build("vit_tiny", 160).pos_embed.shape == (1, 101, 192)
    with pytest.raises(InvalidValueError, match="100 pixels"):
        build("vit_tiny", 100)


def test_vit_base_loads_what_it_saves():
    network = zoo.create("vit_base", alpha=0.25, resolution=32)
    state = network.state_dict()
    assert "encoder.layers.encoder_layer_0.self_attention.in_proj_weight" in state
    other = zoo.create("vit_base", alpha=0.25, resolution=32, seed=1)
    other.load_state_dict(state, strict=True)
    image = torch.randn(1, 3, 32, 32)
    assert torch.equal(network(image), other(image))


def test_swin_keeps_apart_what_the_roll_brought_together():
    attention = WindowAttention(32, shift=3)
    image = torch.randn(1, 14, 14, 32)
    changed = image.clone()
    changed[0, 0, 0] += 1
    moved = (attention(image) != attention(changed)).any(-1)[0]
    # Windows start at 3 and 10: the corner's neighbourhood is the three rows and columns before.
    assert moved[:3, :3].all()
    assert moved.sum() == 9


@pytest.mark.parametrize("size", [32, 50, 224])
def test_swin_takes_any_size(size):
    network = build("swin_tiny", num_classes=7).eval()
    assert network(torch.empty(2, 3, size, size, device="meta")).shape == (2, 7)
