"""A network and what is known of it, to a file and back."""

import json
import struct

import pytest
import torch

from edgecnn.artifact import Step, read_manifest
from edgecnn.errors import ArtifactError, InvalidValueError, WeightsError
from edgecnn.zoo import NetworkSpec, checkpoint
from edgecnn.zoo.open_network import open_network
from edgecnn.zoo.state_file import read_state

SPEC = NetworkSpec("mobilenet", alpha=0.25, resolution=32, num_classes=5, seed=3)
CLASSES = ("a", "b", "c", "d", "e")


@pytest.fixture
def saved(tmp_path):
    opened = open_network(SPEC)
    lineage = (*opened.lineage, Step("train", {"data": "digits"}, metrics={"top1": 0.5}))
    manifest = checkpoint.describe(
        SPEC,
        opened.network,
        lineage,
        preprocessing=SPEC.preprocessing,
        labels=CLASSES,
        weights="somewhere",
    )
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, opened.network, manifest)
    return path, opened.network, manifest


def test_network_and_manifest_come_back(saved):
    path, network, manifest = saved
    loaded = checkpoint.load(path)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.network(images), network(images))
    assert not loaded.network.training
    assert loaded.manifest == manifest == read_manifest(path)


def test_a_spec_knows_what_the_checkpoint_says(saved):
    spec = NetworkSpec(str(saved[0]))
    assert (spec.architecture.name, spec.width, spec.size, spec.classes) == (
        "mobilenet_v1",
        0.25,
        (32, 32),
        5,
    )
    assert spec.labels == CLASSES and spec.origin == "somewhere"
    assert spec.preprocessing == SPEC.preprocessing


def test_with_other_classes_only_the_classifier_starts_anew(saved):
    path, network, _ = saved
    loaded = checkpoint.load(path, num_classes=7)
    before, after = network.state_dict(), loaded.network.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert after["classifier.weight"].shape[0] == 7 and "starts anew" in loaded.notes[0]
    assert NetworkSpec(str(path), num_classes=7).labels is None


@pytest.mark.parametrize(
    "options", [{"alpha": 0.5}, {"phi": 1.0}, {"in_channels": 1}, {"weights": "imagenet"}]
)
def test_what_a_checkpoint_says_cannot_be_said_otherwise(saved, options):
    with pytest.raises(InvalidValueError, match="says itself"):
        NetworkSpec(str(saved[0]), **options)


def test_a_foreign_file_is_refused_with_the_way_to_use_it(saved, tmp_path):
    import safetensors.torch

    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(read_state(saved[0], most=1 << 30).tensors, path)
    with pytest.raises(ArtifactError, match="does not say which network") as caught:
        NetworkSpec(str(path))
    assert "--weights" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", struct.pack("<Q", 1 << 40), struct.pack("<Q", 9) + b"{"]
)
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="safetensors"):
        NetworkSpec(str(path))


def test_weights_of_another_network_are_refused(saved):
    path = saved[0]
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"]["edgecnn"] = header["__metadata__"]["edgecnn"].replace("mobilenet_v1", "resnet18")
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(WeightsError, match="does not fit"):
        checkpoint.load(path)


def _with_manifest(path, change) -> None:
    """Write the checkpoint's header anew, with the manifest that `change` makes of its own."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    manifest = json.loads(header["__metadata__"]["edgecnn"])
    change(manifest)
    header["__metadata__"]["edgecnn"] = json.dumps(manifest)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


@pytest.mark.parametrize(
    "field, value",
    [
        ("architecture", ["mobilenet"]),
        ("alpha", "wide"),
        ("alpha", 10**400),
        ("resolution", 32.5),
        ("weights", {}),
        ("inputs", []),
        ("outputs", [{"name": "o", "shape": ["batch"], "dtype": "float32", "layout": "NC"}]),
        ("preprocessing", 3),
        ("labels", [1, 2, 3, 4, 5]),
        ("lineage", []),
        ("lineage", [{"what": "build", "parameters": 3}]),
        ("lineage", [{"what": "build", "parameters": {"phi": []}}]),
        ("lineage", [{"what": "prune", "parameters": {"structure": [1]}}]),
        ("lineage", [{"what": "prune", "parameters": {"structure": {"conv_stem": {"out_channels": "x"}}}}]),
    ],
)
def test_a_manifest_with_the_wrong_types_is_refused_in_words(saved, field, value):
    _with_manifest(saved[0], lambda manifest: manifest.update({field: value}))
    with pytest.raises((ArtifactError, InvalidValueError)):
        checkpoint.load(saved[0])


def test_a_small_file_that_names_a_huge_network_is_refused_before_it_is_built(saved):
    _with_manifest(saved[0], lambda manifest: manifest["outputs"][0].update(shape=["batch", 1_000_000]))
    with pytest.raises(WeightsError, match=r"it has [\d,]+ bytes, the network 1,0"):
        checkpoint.load(saved[0])


@pytest.mark.parametrize("inner", ["[" * 100_000, '{"a":' * 100_000])
def test_a_header_that_is_nested_without_end_is_refused(tmp_path, inner):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(inner)) + inner.encode())
    with pytest.raises(ArtifactError, match="damaged"):
        NetworkSpec(str(path))
