"""Networks as backbones: feature maps at known strides, with known channels."""

import copy
import csv
from pathlib import Path

import onnx
import pytest
import torch
from deep_networks import CLASSIFIERS

import edgecnn
from edgecnn import zoo
from edgecnn.errors import InvalidValueError
from edgecnn.zoo.feature_layers import chosen_layers, feature_layers
from edgecnn.zoo.features import FeatureMaps
from edgecnn.zoo.reparameterize import fold

GOLDEN = list(csv.DictReader((Path(__file__).parent / "features.csv").open()))
#: Networks that do not pad every layer: their maps lack up to so many pixels at each side.
UNPADDED = {
    **dict.fromkeys(("alexnet", "alexnet_owt", "zfnet", "squeezenet1_0", "squeezenet1_1"), 3),
    **dict.fromkeys(("xception", "inception_v3", "inception_v4", "inception_resnet_v2"), 4),
    **dict.fromkeys(("nasnet_mobile", "nasnet_large"), 2),
}
NONE = {"lenet5", "lenet_1989"}
#: One for each way of finding or of turning a map; the others are for the long tests.
QUICK = {
    "resnet18",
    "vgg11_bn",
    "vit_tiny",
    "repvgg_a0",
    "squeezenet1_1",
    "alexnet",
}
CASES = [
    pytest.param(row.name, id=row.name, marks=[pytest.mark.slow] * (row.name not in QUICK))
    for row in CLASSIFIERS
    if row.name not in NONE
]


def backbone(name: str, alpha: float = 1.0, side: int | None = None, levels: tuple[int, ...] | None = None):
    """All maps of a network, on the meta device."""
    row = zoo.architecture(name)
    layers = feature_layers(row) if levels is None else chosen_layers(row, levels)
    with torch.device("meta"):
        network = zoo.build(row, alpha=alpha, resolution=side or row.resolution).eval()
        return FeatureMaps(network, layers, 3, side or row.resolution)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_maps_have_the_said_strides_and_channels(name):
    for alpha, side in ((0.5, 128), (1.4, 192)):
        maps = backbone(name, alpha, side).train(alpha < 1)
        with torch.device("meta"):
            outputs = maps(torch.empty(2, 3, side, side))
        assert len(outputs) == len(maps.layers) > 0
        for output, stride, channels in zip(outputs, maps.strides, maps.channels, strict=True):
            assert output.shape[:2] == (2, channels)
            whole = -(-side // stride)
            assert output.shape[2] == output.shape[3]
            assert whole - UNPADDED.get(name, 0) <= output.shape[2] <= whole


@pytest.mark.slow
@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["name"])
def test_the_channels_are_those_of_timm(row):
    assert list(backbone(row["name"]).channels) == [int(count) for count in row["channels"].split()]


@pytest.mark.slow
@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["name"])
def test_timm_has_these_channels(row, torchvision):
    import timm

    reference, _, exception = row["source"].removeprefix("timm ").partition(";")
    with torch.device("meta"):
        found = timm.create_model(reference, features_only=True).feature_info.channels()
    ours = [int(count) for count in row["channels"].split()]
    if reference.startswith("vit"):
        found = found[-1:]
    unlike = sum(a != b for a, b in zip(ours, found[-len(ours) :], strict=True))
    assert unlike == (1 if exception else 0)


def test_a_backbone_by_its_name_gives_a_tuple_of_maps():
    model = edgecnn.create_model("resnet18", features=(3, 4, 5), alpha=0.125, resolution=64, channels=1)
    assert (model.strides, model.channels) == ((8, 16, 32), (16, 32, 64))
    outputs = model.train()(torch.randn(2, 1, 64, 96))
    assert [tuple(item.shape) for item in outputs] == [(2, 16, 8, 12), (2, 32, 4, 6), (2, 64, 2, 3)]
    sum(item.square().sum() for item in outputs).backward()
    assert [key for key, item in model.named_parameters() if item.grad is None] == []
    assert not [key for key in model.state_dict() if "fc" in key], "the classifier is left out"


@torch.inference_mode()
def test_the_maps_are_what_the_layers_compute():
    network = zoo.create("mobilenet_v2", alpha=0.25, resolution=64)
    seen = {}
    network.features[6].register_forward_hook(lambda _, __, output: seen.update(a=output))
    network.features[17].register_forward_hook(lambda _, __, output: seen.update(b=output))
    x = torch.randn(2, 3, 64, 64)
    network(x)
    maps = FeatureMaps(copy.deepcopy(network), chosen_layers(zoo.architecture("mobilenet_v2"), (5, 3)), 3, 64)
    outputs = maps(x)
    assert torch.equal(outputs[0], seen["b"]) and torch.equal(outputs[1], seen["a"])
    twin = copy.deepcopy(maps)
    for parameter in twin.parameters():
        parameter.zero_()
    assert not twin(x)[0].any() and outputs[0].any(), "a copy runs its own layers"


@torch.inference_mode()
def test_tokens_and_channels_last_become_maps():
    x = torch.randn(1, 3, 64, 96)
    swin = edgecnn.create_model("swin_tiny", features=(2, 5), alpha=0.34, resolution=64)
    assert [tuple(item.shape[2:]) for item in swin(x)] == [(16, 24), (2, 3)]
    vit = edgecnn.create_model("vit_tiny", features=[4], alpha=0.34, resolution=64)
    (output,) = vit(x[..., :64])
    assert output.shape == (1, *vit.channels, 4, 4)


@torch.inference_mode()
def test_a_backbone_with_branches_folds():
    maps = edgecnn.create_model("repvgg_a0", features=(3, 4), alpha=0.25, resolution=64)
    x = torch.randn(1, 3, 64, 64)
    before = maps(x)
    assert fold(maps) > 0
    for a, b in zip(before, maps(x), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(a.std()))


@pytest.mark.slow
def test_a_backbone_is_exported_without_what_it_does_not_need(tmp_path):
    maps = edgecnn.create_model("repvgg_a0", features=(3, 4), alpha=0.25, resolution=64)
    done = edgecnn.export_model(maps, tmp_path / "m.onnx", size=64, precision="int8")
    graph = onnx.load(tmp_path / "m.onnx").graph
    shapes = [[axis.dim_value for axis in item.type.tensor_type.shape.dim][1:] for item in graph.output]
    assert shapes == [[24, 8, 8], [48, 4, 4]]
    operators = [node.op_type for node in graph.node]
    assert operators.count("Conv") == 21 and not {"Add", "Gemm", "GlobalAveragePool"} & set(operators)
    assert done.manifest.quantization["int8_mac_share"] == 1


@pytest.mark.parametrize(
    "name, levels, message, hint",
    [
        ("lenet5", (3,), "lenet5 has no feature maps that are known", "for backbones"),
        ("vit_tiny", (3, 4), "vit_tiny has no feature maps at the levels 3, 4", "each once, of 4"),
        ("squeezenet1_1", (5,), "squeezenet1_1 has no feature maps at the levels 5", "of 1, 2, 3, 4"),
        ("resnet18", (3, 3), "resnet18 has no feature maps at the levels 3, 3", "each once"),
        ("resnet18", (), "resnet18 has no feature maps at the levels nothing", "each once"),
    ],
)
def test_what_a_network_does_not_have_is_refused_in_one_line(name, levels, message, hint):
    with pytest.raises(InvalidValueError, match=message) as caught:
        edgecnn.create_model(name, features=levels)
    assert hint in caught.value.hint
