"""Detectors and segmenters: the libraries' weights, figures and outputs; any backbone, width and size."""

import csv
from pathlib import Path

import pytest
import torch
from detector_oracles import ReferenceYOLOX, of_torchvision, raw_outputs, scattered

from edgecnn import zoo
from edgecnn.errors import InvalidValueError, UnknownNameError
from edgecnn.runtime.labels import label_set
from edgecnn.tasks.anchors import ssd as ssd_anchors
from edgecnn.zoo.catalog import ARCHITECTURES
from edgecnn.zoo.cost import count
from edgecnn.zoo.counts import known
from edgecnn.zoo.create import create
from edgecnn.zoo.decoder import decoder
from edgecnn.zoo.initialize import settle
from edgecnn.zoo.network_outputs import named
from edgecnn.zoo.spec import NetworkSpec
from edgecnn.zoo.state_names import match
from edgecnn.zoo.weights import load_weights

FIGURES = list(csv.DictReader((Path(__file__).parent / "heads.csv").open()))
#: Small enough for every run; one for each head.
QUICK = {"ssdlite320_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "yolox_nano"}
OTHERS = ("mobilenet_v2", "efficientnet_lite0")
OVER_ANY = [row.name for row in ARCHITECTURES if row.backbone is not None]
TORCHVISION = [row for row in FIGURES if not row["name"].startswith("yolox")]


def cases(rows):
    return [
        pytest.param(row, id=row["name"], marks=[] if row["name"] in QUICK else [pytest.mark.slow])
        for row in rows
    ]


@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row["name"])
def test_parameters_and_macs_are_those_of_the_reference(row):
    """The shipped counts are, and test_counts holds that they are the network's."""
    assert zoo.architecture(row["name"]).size == (int(row["resolution"]),) * 2
    assert known()[row["name"]] == {"params": int(row["params"]), "macs": int(row["macs"])}


@pytest.mark.slow
@pytest.mark.parametrize("row", FIGURES, ids=lambda row: row["name"])
def test_the_reference_has_these_figures(row, torchvision):
    side, name = int(row["resolution"]), row["name"]
    yolox = name.startswith("yolox")
    with torch.device("cpu" if yolox else "meta"):  # whose code makes tensors of its own
        size = name.removeprefix("yolox_")
        theirs = ReferenceYOLOX(size) if yolox else of_torchvision(torchvision, name)
    params = sum(item.numel() for item in theirs.parameters())
    if hasattr(theirs, "aux_classifier"):
        theirs.aux_classifier = None  # counted without the head that helps in training

    class Raw(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.theirs = theirs

        def forward(self, images):
            found = self.theirs(images) if yolox else raw_outputs(self.theirs, images)
            return tuple(found.values())

    assert (params, count(Raw(), 3, side).macs) == (int(row["params"]), int(row["macs"]))


@pytest.mark.parametrize("row", cases(TORCHVISION))
def test_torchvisions_weights_load_strictly_and_give_the_same(row, torchvision, tmp_path):
    name = row["name"]
    side = 300 if name == "ssd300_vgg16" else 96
    theirs = scattered(lambda: of_torchvision(torchvision, name))
    check(theirs, name, side, raw_outputs, tmp_path)


@pytest.mark.parametrize("row", cases([row for row in FIGURES if row["name"].startswith("yolox")]))
def test_the_weights_of_yolox_load_strictly_and_give_the_same(row, torchvision, tmp_path):
    theirs = scattered(lambda: ReferenceYOLOX(row["name"].removeprefix("yolox_")))
    check(theirs, row["name"], 64, lambda network, images: network(images), tmp_path)


@torch.inference_mode()
def check(theirs, name, side, outputs, folder):
    """Load a file of their weights as a user would, and compare the raw outputs."""
    row = zoo.architecture(name)
    with torch.device("meta"):
        ours = zoo.build(row, resolution=side)
    ours = ours.to_empty(device="cpu").eval()
    torch.save(theirs.state_dict(), folder / "theirs.pth")
    with pytest.warns(match="another library's, and were translated"):
        load_weights(ours, row, str(folder / "theirs.pth"))
    images = torch.randn(2, 3, side, side)
    expected, found = outputs(theirs, images), named(ours(images))
    assert list(found) == ["boxes", "objectness", "scores"] if name.startswith("yolox") else set(expected)
    for key, values in found.items():
        assert expected[key].std() > 0.01
        torch.testing.assert_close(values, expected[key], rtol=0, atol=1e-4 * float(expected[key].std()))


def test_older_names_of_a_pyramid_and_a_tower_are_known_too():
    network = create("retinanet", backbone="resnet18", alpha=0.125, resolution=64)
    state = {}
    for key, value in network.state_dict().items():
        key = key.replace("backbone.network", "backbone.body").replace(
            "neck.p", "backbone.fpn.extra_blocks.p"
        )
        state[key.replace("neck.", "backbone.fpn.")] = value  # inner_blocks.0.weight, conv.2.weight
    found = match(network, state, "old", lambda message: None)
    assert set(found) == set(network.state_dict())


@pytest.mark.parametrize("name", OVER_ANY)
@pytest.mark.parametrize(
    "backbone", ["resnet18", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_a_head_stands_on_any_backbone_at_any_width_and_size(name, backbone):
    with torch.device("meta"):
        row = zoo.architecture(name, backbone=backbone)
        network = zoo.build(row, alpha=0.35, num_classes=7, resolution=96).eval()
        outputs = named(network(torch.empty(2, 3, 96, 96)))
    columns = {"ssd": 8, "ssdlite": 8}.get(name, 7)
    if row.task == "segmentation":
        assert {key: tuple(item.shape) for key, item in outputs.items()} == {"logits": (2, 7, 96, 96)}
    else:
        assert outputs["boxes"].shape[2] == 4 and outputs["scores"].shape[::2] == (2, columns)
        assert len({item.shape[1] for item in outputs.values()}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [row.name for row in ARCHITECTURES if row.task == "classification"])
def test_every_backbone_with_maps_carries_a_detector_and_a_segmenter(backbone):
    levels = {layer.level for layer in zoo.feature_layers.feature_layers(zoo.architecture(backbone))}
    with torch.device("meta"):
        for name, needed in (("ssdlite", {4, 5}), ("yolox", {3, 4, 5}), ("unet", {4})):
            if needed <= levels:
                row = zoo.architecture(name, backbone=backbone)
                named(zoo.build(row, alpha=0.5, resolution=128).eval()(torch.empty(1, 3, 128, 128)))


def test_what_is_no_head_or_no_backbone_is_said():
    with pytest.raises(InvalidValueError, match="no backbone that could be another") as error:
        create("resnet18", backbone="mobilenet_v2")
    assert "ssdlite" in error.value.hint
    with pytest.raises(InvalidValueError, match="ssd is no backbone"):
        create("ssdlite", backbone="ssd")
    with pytest.raises(UnknownNameError, match="mobilenet_v22"):
        create("ssdlite", backbone="mobilenet_v22")
    with pytest.raises(InvalidValueError, match="vit_tiny has no feature maps at the levels 5"):
        create("ssdlite", backbone="vit_tiny", resolution=64)
    with pytest.raises(InvalidValueError, match="cannot be dilated"):
        create("fcn", backbone="vgg11", resolution=64)


def test_imagenet_weights_fill_the_backbone_and_leave_the_head(tmp_path):
    network = create(
        "ssdlite", backbone="efficientnet_lite0", weights="imagenet", num_classes=3, resolution=64
    )
    classifier = create("efficientnet_lite0", weights="imagenet")
    whole = classifier.state_dict()
    part = network.backbone.network.state_dict()
    assert part and all(torch.equal(value, whole[key]) for key, value in part.items())
    spec = NetworkSpec("ssdlite", backbone="efficientnet_lite0", weights="auto")
    assert spec.weights == "imagenet" and spec.has_new_classifier
    assert NetworkSpec("ssdlite320_mobilenet_v3_large", weights="auto").weights == "coco"


@pytest.mark.filterwarnings("ignore:the names of")
def test_another_number_of_classes_leaves_the_layers_that_predict(torchvision, tmp_path):
    theirs = scattered(lambda: of_torchvision(torchvision, "lraspp_mobilenet_v3_large"))
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    with pytest.warns(match="starts anew: 5 classes, not 21"):
        network = create(
            "lraspp_mobilenet_v3_large", weights=str(tmp_path / "theirs.pth"), num_classes=5, resolution=64
        )
    assert network.classifier.low_classifier.out_channels == 5


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "ssdlite")) for name in OVER_ANY]
)
def test_gradient_reaches_every_parameter(name):
    network = create(name, backbone="mobilenet_v2", alpha=0.1, num_classes=3, resolution=64).train()
    torch.manual_seed(0)
    outputs = named(network(torch.randn(2, 3, 64, 64)))
    sum(item.square().sum() for item in outputs.values()).backward()
    missing = [key for key, item in network.named_parameters() if item.grad is None]
    assert not missing


@torch.no_grad()
def test_a_settled_detector_finds_little_and_not_the_same_everywhere():
    network = create("ssdlite", backbone="mobilenet_v2", alpha=0.1, num_classes=3, resolution=64)
    settle(network, torch.randn(4, 3, 64, 64))
    outputs = network(torch.randn(4, 3, 64, 64))
    shares = outputs["scores"].softmax(2)
    assert 0.8 < shares[..., 0].mean() < 1 and shares[..., 1:].max() > 0.3
    assert 0.5 < outputs["boxes"].std() < 1.5


def test_the_manifests_decoder_has_the_grids_of_the_network():
    spec = NetworkSpec("ssdlite", backbone="mobilenet_v2", alpha=0.1, num_classes=3, resolution="72x96")
    network = create("ssdlite", backbone="mobilenet_v2", alpha=0.1, num_classes=3, resolution=(72, 96))
    settings = decoder(spec, network)
    assert settings["grids"] == [[5, 6], [3, 3], [2, 2], [1, 1], [1, 1], [1, 1]]
    anchors = ssd_anchors(settings, spec.size)
    assert len(anchors) == network(torch.zeros(1, 3, 72, 96))["boxes"].shape[1]
    assert len(NetworkSpec("ssd300_vgg16").architecture.decoder["classes"]) == len(label_set("coco")) == 80
