"""`edgecnn train` and `edgecnn distill` as a user meets them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from program import run as run_alone
from program import run_here as run

from edgecnn.artifact import read_manifest
from edgecnn.zoo.state_file import read_state

#: A little training that is done in seconds.
SHORT = ("--data", "digits", "--augmentation", "none", "--epochs", "4", "--batch", "32")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    path = folder / "lenet.safetensors"
    extra = ("--log", str(folder / "log.csv"), "--plot", str(folder / "curve.png"))
    done = run("train", "lenet5", *SHORT, *extra, "-o", str(path), "--json")
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout), done.stderr


def test_the_checkpoint_knows_data_and_lineage(trained):
    path, report, _ = trained
    manifest = read_manifest(path)
    assert [step.what for step in manifest.lineage] == ["build", "initialize", "train"]
    step = manifest.lineage[-1]
    assert step.parameters["data"] == "digits" and len(step.parameters["data_sha256"]) == 64
    assert step.metrics["top1"] == report["top1"] > 0.8 and step.metrics["n"] == 898
    assert manifest.labels == "digits" and manifest.weights == "digits"


def test_epochs_are_shown_logged_and_drawn(trained):
    path, report, errors = trained
    rows = list(csv.DictReader((path.parent / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[-1]["loss"]) == report["history"][-1]["loss"]
    assert errors.count("images/s") == 4 and "left" in errors
    assert Image.open(path.parent / "curve.png").width > 400
    assert report["log"] == str(path.parent / "log.csv") and report["plot"] == str(path.parent / "curve.png")
    assert sorted(item.name for item in path.parent.iterdir()) == [
        "curve.png",
        "lenet.safetensors",
        "log.csv",
    ]


def test_the_exported_file_is_as_accurate(trained, tmp_path):
    path, report, _ = trained
    out = tmp_path / "lenet.onnx"
    assert run("export", str(path), "-o", str(out)).returncode == 0
    done = run("eval", str(out), "--data", "digits", "--json")
    assert json.loads(done.stdout)["top1"] == pytest.approx(report["top1"])
    lineage = read_manifest(out).lineage
    assert [step.what for step in lineage][:4] == ["build", "initialize", "train", "trace"]
    assert lineage[3].parent == report["sha256"]


@pytest.fixture(scope="module")
def fine_tuned(trained, tmp_path_factory):
    """The network trained on to tell dark images from light ones."""
    folder = tmp_path_factory.mktemp("two")
    rng = np.random.default_rng(0)
    for name, base in (("dark", 0), ("light", 128)):
        (folder / "set" / name).mkdir(parents=True)
        for index in range(40):
            pixels = rng.integers(base, base + 128, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "set" / name / f"{index}.png")
    out = folder / "two.safetensors"
    done = run(
        "train", str(trained[0]), "--data", str(folder / "set"), "--epochs", "10", "--batch", "8",
        "--augmentation", "none", "--lr", "3e-3", "-o", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


def test_fine_tuning_trains_the_new_classifier_first(trained, fine_tuned):
    out, report = fine_tuned
    assert [row["stage"] for row in report["history"]] == ["classifier", *["whole network"] * 9]
    assert report["top1"] == 1 and any("starts anew" in note for note in report["notes"])
    manifest = read_manifest(out)
    assert manifest.labels == ("dark", "light") and manifest.lineage[-1].parent == trained[1]["sha256"]


def test_pruning_with_other_classes_needs_fine_tuning(fine_tuned, tmp_path):
    options = ("--data", "digits", "--ratio", "0.1", "--align", "1", "-o", str(tmp_path / "m.safetensors"))
    done = run("prune", str(fine_tuned[0]), *options)
    assert done.returncode == 1 and "other classes than digits" in done.stderr and "--epochs" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_same_run_is_not_done_twice(trained):
    done = run("train", "lenet5", *SHORT, "-o", str(trained[0]), "--resume", "--json")
    assert json.loads(done.stdout)["done_before"] is True


def test_a_run_that_was_cut_off_is_not_overwritten_unasked(tmp_path):
    out = tmp_path / "m.safetensors"
    (tmp_path / "m.safetensors.training").write_bytes(b"something")
    done = run("train", "lenet5", *SHORT, "-o", str(out))
    assert done.returncode == 1 and "--resume" in done.stderr and "cut off" in done.stderr
    done = run("train", "lenet5", *SHORT, "-o", str(out), "--resume")
    assert done.returncode == 1 and "no state of a training run" in done.stderr


def test_distillation_from_a_checkpoint_and_from_an_onnx_file(trained, tmp_path):
    onnx = tmp_path / "teacher.onnx"
    assert run("export", str(trained[0]), "-o", str(onnx)).returncode == 0
    found = []
    for teacher in (trained[0], onnx):
        out = tmp_path / "student.safetensors"
        done = run(
            "distill", "lenet5", "--alpha", "0.5", "--teacher", str(teacher), "--features", "attention",
            *SHORT, "-o", str(out), "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
        out.unlink()
    assert found[0]["top1"] == pytest.approx(found[1]["top1"], abs=0.02) and found[0]["top1"] > 0.6


def test_the_same_seed_gives_the_same_student_whatever_was_done_before(trained, tmp_path):
    options = ("lenet5", "--alpha", "0.5", "--teacher", str(trained[0]), "--features", "hint", *SHORT)
    found = []
    for name in "ab":
        torch.rand(1)
        done = run("distill", *options, "--epochs", "1", "-o", str(tmp_path / f"{name}.safetensors"))
        assert done.returncode == 0, done.stderr
        found.append(read_state(tmp_path / f"{name}.safetensors", 1 << 30).tensors)
    assert all((found[0][key] == found[1][key]).all() for key in found[0])


def test_distillation_without_labels(trained, tmp_path):
    from edgecnn.data.builtin import digits

    folder = tmp_path / "images"
    folder.mkdir()
    for index, image in enumerate(digits()[0][:200]):
        Image.fromarray(image).save(folder / f"{index}.png")
    out = tmp_path / "student.safetensors"
    done = run(
        "distill", "lenet5", "--teacher", str(trained[0]), "--unlabeled", str(folder), "--weight", "1",
        "--epochs", "15", "--batch", "16", "--augmentation", "none", "-o", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["top1"] > 0.7 and report["n"] == 20 and "answered by the teacher" in report["data"]
    assert read_manifest(out).lineage[-1].parameters["teacher_sha256"] == trained[1]["sha256"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "{net}", "--qat", "--data", "digits"],
        ["prune", "{net}", "--ratio", "0.5"],
        ["run", "{recipes}/prune_to_latency.yaml"],
    ],
)
def test_what_several_processes_would_all_write_is_refused(arguments, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    places = {"net": trained[0], "recipes": Path(__file__).parents[2] / "recipes"}
    done = run_alone(*(argument.format(**places) for argument in arguments), cwd=tmp_path)
    assert done.returncode == 1 and "in one process" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "lenet5"], 2, "--data"),
        (["train", "lenet6", "--data", "digits"], 1, "lenet5"),
        (["train", "lenet5", "--data", "digitz"], 1, "digits"),
        (["train", "lenet5", "--data", "digits", "--epochs", "0"], 1, "epochs of 0"),
        (["train", "lenet5", "--data", "digits", "--lr", "nan"], 1, "--lr of nan"),
        (["train", "lenet5", "--data", "digits", "--augmentation", "strnog"], 1, "strong"),
        (["train", "lenet5", "--data", "digits", "--batch", "2000"], 1, "fewer than a batch"),
        (["train", "lenet5", "--data", "digits", "--freeze", "1"], 1, "no new classifier"),
        (["train", "{net}", "--data", "digits", "--resolution", "64", "-o", "m.safetensors"], 1, "64 pixels"),
        (["train", "lenet5", "--data", "digits", "-o", "{dir}/m.pth"], 1, "safetensors"),
        (["train", "lenet5", "--data", "digits", "--log", "{dir}/log.txt"], 1, "csv"),
        (["train", "lenet5", "--data", "digits", "--plot", "{dir}/p.gif"], 1, ".png"),
        (["train", "{net}", "--data", "digits", "-o", "{net}"], 1, "overwritten"),
        (["eval", "{net}", "--data", "digits"], 1, "edgecnn export"),
        (["distill", "vgg11", "--teacher", "vgg11", "--teacher-weights", "random", "--data", "x"], 1, "know"),
        (["distill", "lenet5", "--teacher", "{net}"], 1, "nothing to learn from"),
        (["distill", "lenet5", "--teacher", "{net}", "--data", "digits", "--features", "hints"], 1, "hint"),
        (["distill", "lenet5", "--teacher", "{net}", "--data", "digits", "--weight", "0"], 1, "weight of 0"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line_and_the_right_exit_code(arguments, code, words, trained, tmp_path):
    places = {"net": trained[0], "dir": tmp_path}
    done = run(*(argument.format(**places) for argument in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ") and len(lines) <= 2, done.stderr
    assert words in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("saved", [True, False])
def test_an_interrupted_training_says_how_it_goes_on(tmp_path, monkeypatch, saved):
    def interrupted(request, report):
        if saved:
            (tmp_path / "m.safetensors.training").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("edgecnn.compress.train.train_network.train", interrupted)
    done = run("train", "lenet5", *SHORT, "-o", str(tmp_path / "m.safetensors"))
    assert done.returncode == 130 and "error: interrupted" in done.stderr
    hint = f"--resume goes on from {tmp_path}/m.safetensors.training" if saved else "nothing was saved yet"
    assert hint in done.stderr


def test_an_interrupted_training_has_logged_and_drawn_what_it_did(tmp_path, monkeypatch):
    from edgecnn.compress.train.training_loop import _RunningStage

    told = _RunningStage._report

    def interrupted(self, step, loss, row=None):
        """Stop as soon as an epoch has been reported."""
        told(self, step, loss, row)
        if row:
            raise KeyboardInterrupt

    monkeypatch.setattr(_RunningStage, "_report", interrupted)
    extra = ("--log", str(tmp_path / "log.csv"), "--plot", str(tmp_path / "curve.png"))
    done = run("train", "lenet5", *SHORT, *extra, "-o", str(tmp_path / "m.safetensors"))
    assert done.returncode == 130 and "--resume goes on" in done.stderr
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "log.csv").open())] == ["1"]
    assert Image.open(tmp_path / "curve.png").width > 400 and not (tmp_path / "m.safetensors").exists()


def test_pruning_shows_epochs_and_the_accuracy_before(trained, tmp_path):
    out = tmp_path / "small.safetensors"
    options = ("--ratio", "0.3", "--align", "1", "--no-measure", "--epochs", "1", "-o", str(out))
    done = run("prune", str(trained[0]), "--data", "digits", *options)
    assert done.returncode == 0 and "epoch   1  fine-tune  loss" in done.stderr, done.stderr
    assert f"of {trained[1]['top1']:.2%} before" in done.stdout
    assert f"next: edgecnn export {out} --int8 --data digits" in done.stdout
