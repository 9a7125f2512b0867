"""Branches of RepVGG and MobileOne become one convolution each, which computes the same."""

import onnx
import pytest
import torch
from deep_networks import named
from safetensors.torch import save_file
from torch import nn

import edgecnn
from edgecnn import zoo
from edgecnn.artifact import read_manifest
from edgecnn.export import ExportRequest, export
from edgecnn.parity import spread
from edgecnn.zoo import NetworkSpec, checkpoint, cost, reparameterize
from edgecnn.zoo.initialize import settle
from edgecnn.zoo.mobileone import MobileOneBlock
from edgecnn.zoo.open_network import open_network
from edgecnn.zoo.reparameterize import fold
from edgecnn.zoo.repvgg import RepBlock

BLOCKS = {
    "RepVGG with identity": lambda: RepBlock(16, 16, 1),
    "RepVGG halves": lambda: RepBlock(16, 24, 2),
    "RepVGG in groups": lambda: RepBlock(16, 16, 1, groups=4),
    "MobileOne depthwise": lambda: MobileOneBlock(16, 16, 3, groups=16, copies=4),
    "MobileOne pointwise": lambda: MobileOneBlock(16, 16, 1, copies=2),
    "MobileOne with excitation": lambda: MobileOneBlock(16, 32, 3, 2, squeeze=True),
}


def trained(network: nn.Module) -> nn.Module:
    """The same with batch normalization of all sorts, negative scales too."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.1, 3)
    return network.eval()


@pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)
@torch.inference_mode()
def test_a_folded_block_computes_the_same(make):
    block = trained(make())
    x = torch.randn(2, 16, 9, 9)
    expected = block(x)
    assert fold(block) == 1
    assert not [name for name, _ in block.named_modules() if "conv_kxk" in name or name == "identity"]
    assert float((block(x) - expected).abs().max()) < 1e-5 * float(expected.abs().max())
    assert fold(block) == 0, "there is nothing left to fold"


@pytest.mark.parametrize("name", ["repvgg_a0", named("mobileone_s0")])
@torch.inference_mode()
def test_a_folded_network_is_a_smaller_one_that_computes_the_same(name):
    network = zoo.create(name, alpha=0.25, resolution=64)
    images = torch.randn(4, 3, 64, 64)
    settle(network, images)
    folded = reparameterize.folded_copy(network)
    assert reparameterize.folded_copy(folded) is folded
    assert all(block.reparam_conv is None for block in reparameterize.blocks(network))
    expected = network(images)
    assert spread(expected.numpy()) > 0.1
    assert float((folded(images) - expected).abs().max() / expected.std()) < 1e-3
    before, after = cost.count(network, 3, 64), cost.count(folded, 3, 64)
    assert after.params < before.params and after.macs < before.macs
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.slow
@torch.inference_mode()
def test_the_folded_form_has_the_names_and_the_values_of_timm(torchvision):
    import timm

    for ours, theirs in (("repvgg_a0", "repvgg_a0"), ("mobileone_s0", "mobileone_s0")):
        reference = trained(timm.create_model(theirs))
        network = zoo.build(zoo.architecture(ours)).eval()
        network.load_state_dict(reference.state_dict(), strict=True)
        fold(network)
        reference = timm.utils.reparameterize_model(reference)
        expected = reference.state_dict()
        assert network.state_dict().keys() == expected.keys()
        for key, value in network.state_dict().items():
            assert torch.allclose(value, expected[key], rtol=1e-4, atol=1e-5), key


@pytest.fixture
def folded_file(tmp_path):
    """A checkpoint of the folded form, as another program would write it."""
    network = zoo.create("repvgg_a0", alpha=0.125, num_classes=10)
    fold(network)
    save_file(network.state_dict(), tmp_path / "folded.safetensors")
    return tmp_path / "folded.safetensors", network


def test_a_file_of_the_folded_form_is_known_by_its_names(folded_file):
    path, network = folded_file
    spec = NetworkSpec("repvgg_a0", alpha=0.125, num_classes=10, weights=f"{path}", resolution=32)
    opened = open_network(spec)
    assert opened.lineage[-1].parameters["form"] == "folded"
    assert torch.equal(opened.network.stem.reparam_conv.weight, network.stem.reparam_conv.weight)


@pytest.mark.parametrize("form", ["folded", pytest.param("random", marks=pytest.mark.slow)])
def test_either_form_is_pruned_and_comes_back(form, folded_file, tmp_path):
    path, weights = tmp_path / "pruned.safetensors", form if form == "random" else f"{folded_file[0]}"
    spec = {"alpha": 0.125, "classes": 10, "resolution": 32, "weights": weights}
    done = edgecnn.prune_model("repvgg_a0", path, target_macs="0.6x", align=1, measure=False, **spec)
    loaded = checkpoint.load(path)
    again, manifest = loaded.network, loaded.manifest
    assert done.after.macs < 0.7 * done.before.macs
    assert cost.count(again, 3, 32).macs == done.after.macs
    assert reparameterize.is_folded(again.state_dict()) == (form != "random")
    assert ("folded" in [step.parameters.get("form") for step in manifest.lineage]) == (form != "random")
    if form == "random":
        x = torch.randn(2, 3, 32, 32)
        with torch.inference_mode():
            expected = trained(again)(x)
            folded = reparameterize.folded_copy(again)(x)
        assert float((folded - expected).abs().max() / expected.std()) < 1e-3


@pytest.mark.slow
def test_an_export_has_one_convolution_for_a_block(tmp_path):
    done = export(ExportRequest(NetworkSpec("repvgg_a0", alpha=0.125, resolution=32), tmp_path / "m.onnx"))
    graph = read_manifest(tmp_path / "m.onnx")
    assert "fold branches" in [step.what for step in graph.lineage]
    assert done.parity.sqnr_db > 60
    operators = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert operators.count("Conv") == 22 and "Add" not in operators
