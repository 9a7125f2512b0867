"""The program as a user meets it: exit codes, one JSON object, one line for what went wrong."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from program import SMALL, TRAINED_INT8, report, run, run_here, start

from edgecnn.cli import COMMANDS
from edgecnn.data.open_dataset import open_dataset
from edgecnn.runtime import load


def json_of(*arguments: str) -> dict:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_names_every_command():
    done = run_here("--help")
    for command in COMMANDS:
        assert f"  {command}" in done.stdout


def test_help_imports_nothing_heavy():
    """Nor does that of any command: options are declared where neither arrays nor pictures are needed."""
    code = (
        "import sys\n"
        "from edgecnn.cli import main\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'rich', 'PIL', 'yaml', 'sqlite3'}\n"
        f"for command in [(), *((name,) for name in {[*COMMANDS]})]:\n"
        "    sys.argv = ['edgecnn', *command, '--help']\n"
        "    try: main()\n"
        "    except SystemExit as leaving: assert leaving.code == 0\n"
        "    found = heavy & set(sys.modules)\n"
        "    if found: sys.exit(f'{command} imports {found}')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = run_here(command, "--help")
    assert done.returncode == 0
    usage, _, explained, *_ = done.stdout.splitlines()
    assert usage.startswith(f"Usage: edgecnn {command} [OPTIONS]") and len(explained.split()) > 2
    assert ("--json" in done.stdout) is (command != "devices"), "its own commands have it"


def test_models_says_that_none_matches():
    done = run_here("models", "no_such_network")
    assert done.returncode == 0 and done.stdout == "no network is like that; edgecnn models lists all\n"


def test_models_lists_the_networks_without_torch():
    names = [row["name"] for row in json_of("models")["models"]]
    assert {"mobilenet_v1", "resnet50", "efficientnet_lite0"} <= set(names)
    code = "import sys; from edgecnn.zoo import catalog; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
    assert "mobilenet_v1 = mobilenet" in run_here("models").stdout


def test_info_of_a_network_and_of_a_file(exported):
    assert json_of("info", "lenet5")["params"] == 61706
    path = exported(*SMALL, "--int8")
    found = json_of("info", str(path))
    assert found["architecture"] == "mobilenet_v1" and found["alpha"] == 0.25
    assert "lineage" in run_here("info", str(path)).stdout


def test_predict_names_the_photograph(exported, coffee):
    path = exported(*TRAINED_INT8)
    (best,) = json_of("predict", str(path), str(coffee), "--top", "1")["predictions"][0]["classes"]
    assert best["label"] == "espresso" and best["probability"] >= 0.90
    assert "espresso" in run_here("predict", str(path), str(coffee)).stdout


def test_predictions_of_random_weights_are_called_meaningless(exported, coffee):
    done = run_here("predict", str(exported(*SMALL)), str(coffee))
    assert "random" in done.stderr


def test_profile_prints_a_table_for_people_and_keys_for_programs(exported):
    paths = [str(exported(*SMALL, *extra)) for extra in ([], ["--int8"])]
    one = json.loads(run_here("profile", paths[0], "--seconds", "0.2", "--json").stdout)
    assert {"p50", "p90", "p95", "p99", "p99.9", "mean", "min", "max", "std"} == set(one["latency_ms"])
    assert one["throughput_ips"] > 0 and one["conditions"]["backend"].startswith("onnxruntime")
    assert len(json.loads(run_here("profile", *paths, "--seconds", "0.2", "--json").stdout)["results"]) == 2
    table = run_here("profile", *paths, "--seconds", "0.2").stdout
    assert all(
        word in table for word in ("size", "MACs", "parity", "agreement", "p50", "int8 (portable)", "note:")
    )


def test_eval_of_digits(exported):
    path, test = exported("lenet5", "--batch", "4"), open_dataset("digits").test
    result = json_of("eval", str(path), "--data", "digits")
    with load(path, threads=1) as engine:
        best = np.argsort(-engine.run(engine.prepare(list(test.images))), axis=1)[:, :5]
    right = best == np.asarray(test.labels)[:, None]
    assert result["n"] == len(right) == 898
    assert result["top1"] == pytest.approx(right[:, 0].mean()) and result["top1"] > 0
    assert result["top5"] == pytest.approx(right.any(axis=1).mean()) and result["top5"] < 1


def test_doctor_tells_what_works():
    checks = {check["name"]: check for check in json.loads(run_here("doctor", "--json").stdout)["checks"]}
    assert checks["ONNX Runtime"]["works"] and checks["PyTorch"]["works"]
    assert checks["TensorRT"]["remedy"] == 'pip install "edgecnn[tensorrt]"'


def test_random_weights_are_said_loudly(tmp_path):
    done = run_here("export", "lenet5", "-o", str(tmp_path / "m.onnx"))
    assert "RANDOM WEIGHTS" in done.stdout


def test_export_prints_one_json_object_and_nothing_else(exported):
    values = report(exported("lenet5", "--batch", "4", "--int8"))
    assert {"path", "sha256", "params", "macs", "bytes", "precision", "target", "parity", "seconds"} <= set(
        values
    )
    assert {"max_abs_diff", "sqnr_db", "top1_agreement", "images"} <= set(values["parity"])


@pytest.fixture
def place(tmp_path):
    """A folder with every kind of bad input."""
    (tmp_path / "text.onnx").write_text("I am a text, not a network.\n" * 20)
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "few").mkdir()
    (tmp_path / "few/a.png").write_bytes(b"not an image")
    (tmp_path / "broken").mkdir()
    for index in range(12):
        (tmp_path / f"broken/{index}.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    os.mkfifo(tmp_path / "pipe")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    return tmp_path


BAD = {
    "unknown architecture": (
        1,
        "export mobilnet -o {}/m.onnx",
        "unknown architecture",
        "did you mean mobilenet",
    ),
    "alpha of zero": (1, "export mobilenet --alpha 0 -o {}/m.onnx", "alpha of 0", "0.5"),
    "negative alpha": (1, "export mobilenet --alpha -1 -o {}/m.onnx", "alpha of -1", "above 0"),
    "absurd alpha": (1, "export mobilenet --alpha 1e9 -o {}/m.onnx", "alpha of 1000000000", "at most 8"),
    "alpha that is no number": (
        2,
        "export mobilenet --alpha wide -o {}/m.onnx",
        "not a valid float",
        "--help",
    ),
    "alpha nan": (1, "export mobilenet --alpha nan -o {}/m.onnx", "alpha of nan", ""),
    "vanishing alpha": (1, "export mobilenet --alpha 0.0001 -o {}/m.onnx", "leaves none", "smallest alpha"),
    "tiny resolution": (1, "export resnet18 --resolution 2 -o {}/m.onnx", "cannot be used", "8 to"),
    "unfit resolution": (
        1,
        "export lenet5 --resolution 9 -o {}/m.onnx",
        "cannot take an input of 9",
        "larger",
    ),
    "rho and resolution": (1, "export lenet5 --rho 1 --resolution 32 -o {}/m.onnx", "the same thing", ""),
    "missing calibration": (1, "export lenet5 --int8 --calib {}/none -o {}/m.onnx", "is not there", "folder"),
    "empty calibration": (1, "export lenet5 --int8 --calib {}/empty -o {}/m.onnx", "holds no images", ""),
    "few calibration": (1, "export lenet5 --int8 --calib {}/few -o {}/m.onnx", "too few", "at least"),
    "broken calibration": (1, "export lenet5 --int8 --calib {}/broken -o {}/m.onnx", "image", ""),
    "text as model": (1, "profile {}/text.onnx", "is not an ONNX file", "edgecnn export"),
    "empty model": (1, "predict {}/empty.onnx {}/few/a.png", "is empty", ""),
    "missing model": (1, "info {}/none.onnx", "is not there", "edgecnn export"),
    "missing checkpoint of ours": (1, "export {}/none.safetensors", "is not there", "edgecnn train"),
    "an ONNX file by an engine's name": (
        1,
        "export lenet5 -o {}/m.engine",
        "is the name of an engine",
        "m.onnx",
    ),
    "a file for a network": (1, "export {}/m.onnx -o {}/n.onnx", "is an ONNX file", "edgecnn quantize"),
    "missing checkpoint": (
        1,
        "export lenet5 --weights {}/none.pth -o {}/m.onnx",
        "none.pth is not there",
        "imagenet",
    ),
    "other checkpoint": (
        1,
        "export lenet5 --weights {}/other.pth -o {}/m.onnx",
        "does not fit",
        "architecture",
    ),
    "missing folder": (1, "export lenet5 -o {}/none/m.onnx", "the folder does not exist", "create"),
    "folder as output": (1, "export lenet5 -o {}/empty", "it is a folder", "file name"),
    "unknown target": (
        1,
        "export lenet5 --target jetson-orin-nan -o {}/m.onnx",
        "unknown target",
        "jetson-orin",
    ),
    "unknown ranges": (1, "export lenet5 --int8 --ranges mes -o {}/m.onnx", "unknown --ranges", "mse"),
    "int8 and fp16": (2, "export lenet5 --int8 --fp16 -o {}/m.onnx", "exclude each other", "--help"),
    "unknown option": (2, "export lenet5 --itn8", "No such option", "--help"),
    "unknown command": (2, "exprot lenet5", "did you mean export", "--help"),
    "no argument": (2, "export", "Missing argument", "--help"),
    "unknown data set": (1, "eval {}/text.onnx --data digits", "is not an ONNX file", ""),
    "bad opset": (1, "export lenet5 --opset 5 -o {}/m.onnx", "opset of 5", "18"),
    "negative seed": (1, "export lenet5 --seed -1 -o {}/m.onnx", "seed of -1", "0 or more"),
    "ranges of a float export": (1, "export lenet5 --ranges mes -o {}/m.onnx", "unknown --ranges", "mse"),
    "info at a tiny resolution": (1, "info resnet18 --resolution -5", "no size of an image", ""),
    "too many channels": (
        1,
        "export lenet5 --channels 100000 -o {}/m.onnx",
        "channels of 100000",
        "1 to 1,024",
    ),
    "pipe as output": (1, "export lenet5 -o {}/pipe", "a device or a pipe", ""),
    "bad batch": (1, "export lenet5 --batch 0 -o {}/m.onnx", "batch of 0", "1 to"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_a_hint_and_the_right_exit_code(place, case):
    code, line, message, hint = BAD[case]
    before = sorted(os.listdir(place))
    done = run_here(*line.replace("{}", str(place)).split(), cwd=place)
    lines = [text for text in done.stderr.splitlines() if not text.endswith(" ...")]
    assert done.returncode == code, done.stderr
    assert lines[0].startswith("error: ") and message in lines[0]
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("hint: "))
    assert hint in (lines[1] if len(lines) == 2 else "")
    assert done.stdout == ""
    assert sorted(os.listdir(place)) == before


def test_a_cut_off_model_is_called_so(exported, tmp_path):
    whole = exported(*SMALL).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    for command in (["profile"], ["info"], ["eval", "--data", "digits"]):
        done = run_here(command[0], str(tmp_path / "cut.onnx"), *command[1:])
        assert done.returncode == 1 and "is cut short" in done.stderr


def test_debug_shows_the_traceback(tmp_path):
    done = run("export", "mobilnet", "-o", str(tmp_path / "m.onnx"), "--debug")
    assert "Traceback" in done.stderr and "UnknownNameError" in done.stderr


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        *(("SIGKILL", "check"), ("SIGINT", "check"), ("SIGTERM", "check"), ("SIGINT", "trace")),
        *(pytest.param(name, "trace", marks=pytest.mark.slow) for name in ("SIGKILL", "SIGTERM")),
    ],
)
def test_a_run_killed_half_way_leaves_no_file(tmp_path, stage, name):
    words = ("export", "lenet5", "--int8", "--effort", "fast", "--calib-images", "8")
    ours, theirs = os.pipe()
    with (
        open(ours) as lines,
        start(*words, "-o", str(tmp_path / "m.onnx"), errors=theirs) as command,
    ):
        os.close(theirs)
        assert any(line.startswith(stage) for line in lines)
        command.send_signal(signal.Signals[name])
        lines.read()
        assert command.wait(timeout=60) != 0
    assert os.listdir(tmp_path) == []


def test_an_earlier_result_survives_a_failed_run(place):
    (place / "m.onnx").write_bytes(b"earlier")
    assert (
        run_here(
            "export", "lenet5", "--weights", str(place / "other.pth"), "-o", str(place / "m.onnx")
        ).returncode
        == 1
    )
    assert (place / "m.onnx").read_bytes() == b"earlier"


def test_without_arguments_the_help_is_shown():
    done = run()
    assert done.returncode == 0 and "Commands:" in done.stdout and done.stderr == ""


def test_digits_are_refused_for_a_network_that_does_not_read_them(exported):
    done = run_here("eval", str(exported(*SMALL)), "--data", "digits")
    assert done.returncode == 1 and "digits has 10 classes, this network has 1000" in done.stderr


def test_a_report_beside_a_model_is_not_taken_for_its_manifest(exported, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(exported("lenet5", "--batch", "4").read_bytes())
    (tmp_path / "m.onnx.json").write_text('{"path": "m.onnx"}')
    assert json_of("info", str(path))["architecture"] == "lenet5"


def test_conditions_that_differ_are_both_shown(exported):
    paths = [str(exported("lenet5", "--batch", "4")), str(exported(*SMALL))]
    lines = run_here("profile", *paths, "--seconds", "0.2").stdout.splitlines()
    assert [line.split()[1:] for line in lines if line.startswith("batch")] == [["4;", "1"]]


def test_more_calibration_images_than_there_are_is_told_truly(tmp_path):
    path = tmp_path / "m.onnx"
    assert (
        run_here(
            "export", "lenet5", "--int8", "--batch", "8", "--calib-images", "1000", "-o", str(path)
        ).returncode
        == 0
    )
    steps = {step["what"]: step for step in json_of("info", str(path))["lineage"]}
    assert steps["quantize"]["parameters"]["count"] == 899
    assert len(steps["quantize"]["parameters"]["images_sha256"]) == 64
