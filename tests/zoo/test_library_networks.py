"""Networks of timm and torchvision by name: prepared and filled as these libraries do it."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from edgecnn.errors import InvalidValueError, UnknownNameError, WeightsError
from edgecnn.runtime import prepare
from edgecnn.zoo import checkpoint, library_networks
from edgecnn.zoo.open_network import open_network
from edgecnn.zoo.reference import Reference
from edgecnn.zoo.spec import NetworkSpec

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")


@pytest.fixture(scope="module")
def timm(torchvision):
    import timm

    return timm


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (301, 417, 3), np.uint8))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "vit_base_patch16_siglip_224"])
def test_images_are_prepared_as_timm_prepares_them(name, timm, picture):
    config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    theirs = timm.data.create_transform(**config)(picture).numpy()
    preprocessing = NetworkSpec(f"timm:{name}").preprocessing
    ours = prepare.normalize(preprocessing, prepare.frame(preprocessing, picture)[None])[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16", "efficientnet_b1"])
def test_images_are_prepared_as_torchvision_prepares_them(name, torchvision, picture):
    theirs = torchvision.models.get_model_weights(name).DEFAULT.transforms()(picture).numpy()
    preprocessing = NetworkSpec(f"torchvision:{name}").preprocessing
    ours = prepare.normalize(preprocessing, prepare.frame(preprocessing, picture)[None])[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_preparation_that_cannot_be_said_is_noted(timm):
    (note,) = library_networks.notes(Reference("timm", "vit_medium_patch16_gap_384"))
    assert "by squash and a crop of 0.95" in note and not library_networks.notes(
        Reference("timm", "resnet18")
    )


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:squeezenet1_1"])
def test_a_network_has_the_classes_channels_and_weights_that_are_asked_for(name, timm):
    spec = NetworkSpec(name, resolution=64, num_classes=3, seed=5)
    opened, again = open_network(spec), open_network(spec)
    assert opened.origin == "random" and opened.network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    for (key, value), other in zip(
        opened.network.state_dict().items(), again.network.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), key
    assert NetworkSpec(name).labels == "imagenet" and spec.labels is None


def test_a_checkpoint_opens_by_the_name_alone(timm, tmp_path):
    spec = NetworkSpec("timm:resnet18", resolution=32, num_classes=3, in_channels=1, args=("drop_rate=0.2",))
    opened = open_network(spec)
    manifest = checkpoint.describe(
        spec, opened.network, opened.lineage, preprocessing=spec.preprocessing, labels=None, weights="data"
    )
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, opened.network, manifest)
    loaded = checkpoint.load(path)
    image = torch.randn(1, 1, 32, 32)
    assert torch.equal(loaded.network(image), opened.network(image)) and loaded.network.drop_rate == 0.2
    with pytest.raises(InvalidValueError, match="needs no `code`"):
        NetworkSpec(str(path), code="nets.py:net")


def test_weights_of_a_file_are_loaded(timm, tmp_path):
    theirs = timm.create_model("resnet18", num_classes=1000)
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    opened = open_network(NetworkSpec("timm:resnet18", resolution=32, weights=str(tmp_path / "w.pth")))
    assert torch.equal(opened.network.fc.weight, theirs.fc.weight) and opened.origin.endswith("w.pth")


def test_the_librarys_own_weights_come_from_its_cache(torchvision, tmp_path, monkeypatch):
    from torchvision.models import ShuffleNet_V2_X0_5_Weights, shufflenet_v2_x0_5

    weights = ShuffleNet_V2_X0_5_Weights.DEFAULT
    (tmp_path / "checkpoints").mkdir()
    theirs = shufflenet_v2_x0_5(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "checkpoints" / weights.url.rpartition("/")[2])
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    opened = open_network(NetworkSpec("torchvision:shufflenet_v2_x0_5", weights="imagenet"))
    assert torch.equal(opened.network.fc.weight, theirs.fc.weight) and opened.origin == "imagenet"


def test_weights_that_cannot_be_had_are_one_line(torchvision, monkeypatch):
    def gone(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", gone)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", gone)
    with pytest.raises(WeightsError, match="torchvision cannot get the weights of squeezenet1_1: OSError"):
        open_network(NetworkSpec("torchvision:squeezenet1_1", weights="imagenet"))


@pytest.mark.parametrize(
    ("name", "options", "kind", "reason"),
    [
        ("timm:resnet19", {}, UnknownNameError, "knows no network 'resnet19'"),
        ("timm:resnet18.nothing", {}, UnknownNameError, "knows no"),
        ("torchvision:resnet19", {}, UnknownNameError, "knows no network 'resnet19'"),
        (
            "timm:resnet18",
            {"args": ("checkpoint_path=x.pth",)},
            InvalidValueError,
            "takes no checkpoint_path",
        ),
        ("timm:resnet18", {"args": ("pretrained=true",)}, InvalidValueError, "takes no pretrained"),
        ("torchvision:resnet18", {"args": ("weights=x",)}, InvalidValueError, "takes no weights"),
        ("timm:resnet18", {"args": ("nonsense=1",)}, InvalidValueError, "does not build resnet18"),
        ("torchvision:resnet18", {"in_channels": 1}, InvalidValueError, "take images as they are"),
        ("timm:resnet18", {"alpha": 0.5}, InvalidValueError, "has no width multiplier"),
    ],
)
def test_what_a_library_does_not_know_is_one_line(name, options, kind, reason, timm):
    with pytest.raises(kind, match=reason) as caught:
        open_network(NetworkSpec(name, resolution=32, **options))
    assert "\n" not in str(caught.value) and caught.value.hint
