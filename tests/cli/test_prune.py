"""`edgecnn prune` from the command to a checkpoint that the other commands read."""

import json
from pathlib import Path

import pytest
from program import run_here as run

from edgecnn.artifact import read_manifest
from edgecnn.compress.prune.sparsity import is_2_4
from edgecnn.compress.train.network_accuracy import evaluate
from edgecnn.data.loader import Loader
from edgecnn.data.open_dataset import open_dataset
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo import checkpoint

SMALL = ("mobilenet", "--alpha", "0.25", "--resolution", "32", "--classes", "10", "--weights", "random")


def prune(output: Path, *options: str, network=SMALL):
    return run("prune", *network, "-o", str(output), *options)


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    path = tmp_path_factory.mktemp("prune") / "half.safetensors"
    done = prune(path, "--target-macs", "0.5x", "--no-measure", "--json")
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout)


def test_the_file_is_as_small_as_reported(half):
    path, report = half
    assert report["macs"] <= 0.5 * report["macs_before"]
    loaded = checkpoint.load(path)
    assert loaded.manifest.macs == report["macs"]
    assert sum(item.numel() for item in loaded.network.parameters()) == report["params"]


def test_the_lineage_says_how(half):
    step = read_manifest(half[0]).lineage[-1]
    assert step.what == "prune" and step.parameters["importance"] == "magnitude"
    assert step.parameters["goal"] == "0.5x the MACs" and step.parameters["structure"]


def test_a_pruned_network_is_pruned_again(half, tmp_path):
    path, report = half
    again = tmp_path / "again.safetensors"
    done = prune(again, "--target-params", "0.6x", "--no-measure", "--json", network=(str(path),))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["params"] <= 0.6 * report["params"]
    assert checkpoint.load(again).manifest.params < report["params"]


def test_a_pruned_network_is_exported(half, tmp_path):
    done = run("export", str(half[0]), "-o", str(tmp_path / "half.onnx"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["macs"] == half[1]["macs"]


def test_random_weights_are_said_to_mean_nothing(half):
    assert any("RANDOM WEIGHTS" in note for note in half[1]["notes"])


def test_fine_tuning_reports_accuracy(tmp_path):
    options = ("--data", "digits", "--epochs", "1", "--target-macs", "0.7x", "--no-measure", "--json")
    done = prune(tmp_path / "tuned.safetensors", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    loaded = checkpoint.load(report["path"])
    row, step = Preprocessing.from_json(loaded.manifest.preprocessing), loaded.manifest.lineage[-1]
    test = Loader(open_dataset("digits").test, row, 64, shuffle=False, drop_last=False)
    top1, *_ = evaluate(loaded.network, test)
    assert report["top1"] == step.metrics["top1"] == pytest.approx(top1, abs=2e-3) and 0.1 < top1 < 1
    assert step.parameters["importance"] == "taylor" and step.metrics["data"] == "digits"


def test_sparse_weights_stay_sparse_through_fine_tuning_and_the_file(tmp_path):
    path = tmp_path / "sparse.safetensors"
    done = prune(path, "--sparsity", "2:4", "--data", "digits", "--epochs", "1", "--json")
    assert done.returncode == 0, done.stderr
    network = checkpoint.load(path).network
    assert is_2_4(network.get_submodule("blocks.1.0.conv_pw").weight)
    assert any("stay dense" in note for note in json.loads(done.stdout)["notes"])


@pytest.mark.slow
def test_a_latency_is_reached_and_shown(tmp_path):
    network = ("resnet18", "--resolution", "96", "--classes", "10", "--weights", "random")
    done = prune(tmp_path / "fast.safetensors", "--target-latency", "0.7x", "--json", network=network)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["met"] and report["latency"]["latency_ratio"] <= 0.7
    assert report["attempts"][-1]["stage"] in ("prune", "correct")


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        ((), 2, "give one of"),
        (("--ratio", "0.3", "--target-macs", "0.5x"), 2, "give one of"),
        (("--ratio", "1.5"), 1, "cannot be removed"),
        (("--ratio", "0.3", "--epochs", "2"), 1, "need labelled images"),
        (("--ratio", "0.3", "--importance", "l3", "--no-measure"), 1, "unknown --importance 'l3'"),
    ],
)
def test_bad_values_are_refused_in_one_line(options, code, reason, tmp_path):
    path = tmp_path / "no.safetensors"
    done = prune(path, *options)
    assert done.returncode == code and reason in done.stderr
    assert "Traceback" not in done.stderr and not path.exists()
