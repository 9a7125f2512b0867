"""`edgecnn train --qat` and `edgecnn quantize --train` as a user meets them."""

import json

import onnx
import pytest
from program import run_here as run

from edgecnn.artifact import read_manifest

SHORT = ("--data", "digits", "--augmentation", "none", "--batch", "32")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "lenet.safetensors"
    done = run("train", "lenet5", *SHORT, "--epochs", "3", "-o", str(path))
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module", params=["portable", "cpu"])
def int8(request, trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "q.onnx"
    arguments = ("train", str(trained), "--qat", "--target", request.param, *SHORT, "--epochs", "1")
    done = run(*arguments, "-o", str(path), "--json")
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout), arguments


def test_the_file_answers_as_the_network_in_training(int8):
    assert int8[1]["simulation_agreement"] >= 0.995


def test_it_stays_near_the_float_network(int8):
    _, report, _ = int8
    assert abs(report["float_top1"] - report["top1"]) <= 0.005 and report["n"] == 898
    assert report["parity"]["sqnr_db"] > 20


def test_the_file_is_int8_and_as_accurate_as_was_said(int8):
    path, report, _ = int8
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph.node) >= 4
    manifest = read_manifest(path)
    assert manifest.precision == "int8"
    in_float = manifest.quantization["float_nodes"]
    share = manifest.quantization["int8_mac_share"]
    # One channel of the image is slower in integers, where a target has the rule.
    assert (share < 1) is ("slower in int8: few input channels" in in_float.values())
    assert share > 0.7
    assert [step.what for step in manifest.lineage][-2:] == ["quantize", "quantization-aware training"]
    done = run("eval", str(path), "--data", "digits", "--json")
    assert json.loads(done.stdout)["top1"] == pytest.approx(report["top1"], abs=0.002)


def test_the_same_run_is_not_done_twice(int8):
    path, _, arguments = int8
    done = run(*arguments, "-o", str(path), "--resume", "--json")
    assert json.loads(done.stdout)["done_before"] is True


def test_training_is_the_last_step_of_the_escalation(trained, tmp_path):
    source = tmp_path / "float.onnx"
    assert run("export", str(trained), "-o", str(source)).returncode == 0
    done = run(
        "quantize", str(source), "-o", str(tmp_path / "q.onnx"), "--target", "cpu", "--calib-images", "16",
        "--check-images", "64", "--effort", "fast", "--min-sqnr", "200", "--train", "digits",
        "--train-epochs", "1", "--json",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    names = [attempt["name"] for attempt in json.loads(done.stdout)["quantization"]["attempts"]]
    assert names[:3] == ["plain", "bias correction", "quantization-aware training"]
    assert "float" in names[3]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "lenet5", "--qat", "--data", "digits"], 1, "random weights"),
        (["train", "{net}", "--data", "digits", "--target", "cpu"], 2, "--qat"),
        (["train", "{net}", "--qat", "--data", "digits", "-o", "x.safetensors"], 1, "FILE.onnx"),
        (["train", "{net}", "--qat", "--data", "digits", "--target", "cpuu"], 1, "cpu"),
        (["quantize", "--from", "{net}", "-o", "x.onnx", "--train", "digits"], 2, "--train"),
    ],
)
def test_bad_input_gets_one_line_and_the_right_exit_code(arguments, code, words, trained, tmp_path):
    done = run(*(argument.format(net=trained) for argument in arguments), cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == code and lines[0].startswith("error: ") and len(lines) <= 2, done.stderr
    assert words in done.stderr and not list(tmp_path.iterdir())
