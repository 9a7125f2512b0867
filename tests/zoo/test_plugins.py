"""Architectures from other packages, and the ways a network's size is asked for."""

import textwrap
from subprocess import CompletedProcess

import pytest
import torch
from program import run

from edgecnn import zoo
from edgecnn.errors import EdgecnnWarning, InvalidValueError, WeightsError

PLUGIN = """
import torch
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo import Architecture
from edgecnn.zoo.width import scale

def tiny(*, alpha, num_classes, in_channels):
    width = scale(16, alpha)
    return torch.nn.Sequential(
        torch.nn.Conv2d(in_channels, width, 3, 2, 1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, num_classes),
    )

ROW = Architecture("tiny", "Tiny", 2026, "nobody", "tiny_networks:tiny", 32, Preprocessing(32))
"""


@pytest.fixture
def outside(tmp_path):
    """Runs the program in a folder with an installed package that brings an architecture."""
    (tmp_path / "tiny_networks.py").write_text(textwrap.dedent(PLUGIN))
    info = tmp_path / "tiny_networks-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-networks\nVersion: 1\n")

    def run_there(*arguments: str, entry: str = "tiny = tiny_networks:ROW") -> CompletedProcess[str]:
        (info / "entry_points.txt").write_text(f"[edgecnn.architectures]\n{entry}\n")
        return run(*arguments, cwd=tmp_path)  # Python looks there first

    return run_there


def test_an_architecture_of_another_package_is_listed_and_exported(outside, tmp_path):
    assert "tiny " in outside("models", "tiny").stdout
    done = outside("export", "tiny", "--int8", "--alpha", "0.5", "-o", "t.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t.onnx").stat().st_size > 1000


@pytest.mark.parametrize("entry", ["tiny = no_such_module:ROW", "tiny = tiny_networks:tiny"])
def test_a_broken_plug_in_is_named_and_hurts_nobody_else(outside, entry):
    done = outside("models", entry=entry)
    assert done.returncode == 1 and "plug-in tiny" in done.stderr
    assert outside("info", "lenet5", "--json", entry=entry).returncode == 0


def test_phi_scales_depth_width_and_resolution():
    small, large = (zoo.architecture("efficientnet", phi=phi) for phi in (0, 1))
    assert (small.resolution, large.resolution) == (224, 258)
    networks = [zoo.build(row) for row in (small, large)]
    counts = [sum(p.numel() for p in network.parameters()) for network in networks]
    # B2 is the published network with depth 1.2 and width 1.1.
    assert counts == [5288548, 9109994]


@pytest.mark.parametrize(
    ("name", "phi"), [("resnet18", 1.0), ("efficientnet", 99.0), ("efficientnet", float("nan"))]
)
def test_a_phi_that_cannot_be_used_is_refused(name, phi):
    with pytest.raises(InvalidValueError):
        zoo.architecture(name, phi=phi)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_file(zoo.create("resnet18", alpha=0.25, seed=3).state_dict(), path)
    return str(path)


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
@torch.inference_mode()
def test_a_checkpoints_first_layer_is_adapted_to_the_channels(checkpoint, channels):
    reference = zoo.create("resnet18", alpha=0.25, weights=checkpoint)
    with pytest.warns(EdgecnnWarning, match=rf"conv1\.weight was adapted from 3 to {channels}"):
        network = zoo.create("resnet18", alpha=0.25, in_channels=channels, weights=checkpoint)
    grey = torch.rand(1, 1, 64, 64)
    given, expected = (n.conv1(grey.expand(-1, c, -1, -1)) for n, c in ((network, channels), (reference, 3)))
    # A grey picture fed to every channel is answered alike: exactly with a multiple of three channels or one.
    tolerance = 1e-4 if channels in (1, 6) else 1.5
    assert float((given - expected).abs().max() / expected.abs().max()) < tolerance


def test_a_checkpoints_classifier_is_left_out_for_other_classes(checkpoint):
    with pytest.warns(EdgecnnWarning, match="the classifier .*starts anew: 7 classes, not 1000"):
        network = zoo.create("resnet18", alpha=0.25, num_classes=7, weights=checkpoint)
    reference = zoo.create("resnet18", alpha=0.25, weights=checkpoint)
    assert network.fc.weight.shape[0] == 7
    assert torch.equal(network.layer4[1].conv2.weight, reference.layer4[1].conv2.weight)


def test_a_checkpoint_of_another_width_is_still_refused_with_other_classes(checkpoint):
    with pytest.raises(WeightsError, match="does not fit"):
        zoo.create("resnet18", alpha=0.5, num_classes=7, weights=checkpoint)
