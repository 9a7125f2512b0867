"""`edgecnn quantize` as a user meets it, on a small real network."""

import json
import time
from pathlib import Path

import numpy as np
import onnx
import program
import pytest
from program import run_here as run
from tensorrt_build import build

from edgecnn.artifact import read_manifest
from edgecnn.runtime import load

FEW = ("--calib-images", "8", "--check-images", "16")


@pytest.fixture(scope="module")
def network(exported):
    return exported(*program.SMALL)


@pytest.fixture(scope="module")
def lenet(exported):
    """A network of five layers: what is tried layer by layer takes a moment."""
    return exported("lenet5")


@pytest.fixture(scope="module")
def int8(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("quantized") / "q.onnx"
    done = run("quantize", str(network), "-o", str(path), *FEW, "--effort", "fast", "--json")
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout)


def test_the_result_is_int8_checked_and_knows_its_lineage(int8, network):
    path, report = int8
    assert report["quantization"]["int8_mac_share"] == 1.0
    assert report["parity"]["images"] == 16 and report["parity"]["sqnr_db"] > 10
    manifest = read_manifest(path)
    assert manifest.architecture == "mobilenet_v1" and manifest.precision == "int8"
    assert [step.what for step in manifest.lineage][-1] == "quantize"
    assert manifest.lineage[-1].parameters["count"] == 8
    assert set(manifest.quantization["ranges"]["input"]) == {"cpu", "openvino", "portable"}
    assert path.stat().st_size < network.stat().st_size / 2


def test_it_builds_with_tensorrt(int8):
    assert build(int8[0]) > 0


def test_a_budget_that_is_met_by_the_cheapest_recipe_stops_there(network, tmp_path):
    done = run("quantize", str(network), "-o", str(tmp_path / "q.onnx"), *FEW, "--min-sqnr", "1", "--json")
    assert done.returncode == 0, done.stderr
    kept = json.loads(done.stdout)["quantization"]
    assert [attempt["name"] for attempt in kept["attempts"]] == ["plain"]
    assert kept["budget"] == {"min_sqnr_db": 1.0, "met": True}


def test_a_budget_that_cannot_be_met_is_said_in_the_file_and_by_exit_code_3(lenet, tmp_path):
    path = tmp_path / "q.onnx"
    done = run(
        "quantize",
        str(lenet),
        "-o",
        str(path),
        *FEW,
        "--effort",
        "fast",
        "--min-sqnr",
        "90",
        "--target",
        "cpu",
    )
    assert done.returncode == 3 and "NOT met" in done.stdout
    kept = read_manifest(path).quantization
    assert kept["budget"] == {"min_sqnr_db": 90.0, "met": False}
    names = [attempt["name"] for attempt in kept["attempts"]]
    assert names[:2] == ["plain", "bias correction"] and any("layers float" in name for name in names)
    assert all(attempt["met"] is False for attempt in kept["attempts"])


def test_mixed_precision_leaves_the_fewest_layers_float_that_meet_the_budget(lenet, tmp_path):
    path = tmp_path / "q.onnx"
    plain = run(
        "quantize", str(lenet), "-o", str(path), *FEW, "--effort", "fast", "--target", "cpu", "--json"
    )
    reached = json.loads(plain.stdout)["parity"]["sqnr_db"]
    done = run(
        "quantize", str(lenet), "-o", str(path), *FEW, "--effort", "fast", "--target", "cpu",
        "--min-sqnr", f"{reached + 1:.2f}", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    kept = report["quantization"]
    picked = [rule for rule in kept["float_nodes"].values() if rule == "among the most sensitive layers"]
    assert len(picked) >= 1 and kept["int8_mac_share"] >= 0.5
    assert report["parity"]["sqnr_db"] >= reached + 1
    tried = {row["name"]: row["met"] for row in kept["attempts"] if row["name"].endswith("float")}
    assert tried[f"bias correction, {len(picked)} layer{'s' * (len(picked) != 1)} float"] is True
    if len(picked) > 1:
        fewer = len(picked) - 1
        assert tried[f"bias correction, {fewer} layer{'s' * (fewer != 1)} float"] is False


def test_float_layers_compute_in_float16_on_a_gpu(network, int8, tmp_path):
    path = tmp_path / "q.onnx"
    reached = int8[1]["parity"]["sqnr_db"]
    done = run(
        "quantize", str(network), "-o", str(path), *FEW, "--effort", "fast", "--target", "rtx-4060",
        "--min-sqnr", f"{reached + 1:.2f}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    model = onnx.load(path)
    rules = read_manifest(path).quantization["float_nodes"]
    halves = {node.name for node in model.graph.node if any(name.endswith("_half") for name in node.input)}
    assert {name for name, rule in rules.items() if "sensitive" in rule} <= halves
    assert build(path) > 0


def test_another_target_needs_no_images(int8, tmp_path):
    path, _ = int8
    out = tmp_path / "cpu.onnx"
    done = run("quantize", "--from", str(path), "--target", "cpu", "-o", str(out))
    assert done.returncode == 0, done.stderr
    model, before = onnx.load(out), onnx.load(path)
    types = {tensor.data_type for tensor in model.graph.initializer if tensor.name.endswith("_zero")}
    assert onnx.TensorProto.UINT8 in types and onnx.TensorProto.INT32 in types
    weights = [
        {
            t.name: onnx.numpy_helper.to_array(t)
            for t in m.graph.initializer
            if t.name.endswith("weight_quantized")
        }
        for m in (before, model)
    ]
    # The first layer is faster in float there.
    assert weights[0].keys() - weights[1].keys() == {"conv_stem/weight_quantized"}
    assert weights[1] and all(np.array_equal(value, weights[0][name]) for name, value in weights[1].items())
    manifest = read_manifest(out)
    assert manifest.target == "cpu" and manifest.quantization["scheme"] == "cpu"
    assert [step.what for step in manifest.lineage][-2:] == ["quantize", "requantize"]


def test_float16_of_a_file(network, tmp_path):
    path = tmp_path / "half.onnx"
    done = run("quantize", str(network), "-o", str(path), *FEW, "--fp16", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parity"]["sqnr_db"] > 35
    assert read_manifest(path).precision == "float16"


def test_sensitivity_is_printed_plotted_and_in_the_json(lenet, tmp_path):
    plot = tmp_path / "s.png"
    done = run(
        "quantize", str(lenet), "-o", str(tmp_path / "q.onnx"), *FEW, "--effort", "fast",
        "--plot", str(plot), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    layers = report["sensitivity"]
    assert (
        report["plot"] == str(plot)
        and len(layers) == 5
        and {layer["operator"] for layer in layers} == {"Conv", "Gemm"}
    )
    assert plot.read_bytes().startswith(b"\x89PNG")
    # All layers up to the last are the whole network.
    assert layers[-1]["cumulative_db"] < min(layer["alone_db"] for layer in layers) + 3


@pytest.fixture
def slow_down(monkeypatch):
    """Makes every inference of one file take longer, and measures for a moment."""

    def slow_down(slowed):
        def load_slowed(path, **options):
            engine = load(path, **options)
            if path == slowed:
                infer = engine._infer
                monkeypatch.setattr(engine, "_infer", lambda inputs: (time.sleep(0.02), infer(inputs))[1])
            return engine

        monkeypatch.setattr("edgecnn.runtime.load", load_slowed)
        monkeypatch.setattr("edgecnn.measure.latency.quick_ratio._ALL", 0.05)

    return slow_down


@pytest.mark.parametrize("slowed", ["float", "int8"])
def test_the_latency_gate_says_which_is_faster(network, tmp_path, slow_down, slowed):
    out = tmp_path / "q.onnx"
    slow_down(out if slowed == "int8" else network)
    done = run(
        "quantize", str(network), "-o", str(out), *FEW, "--effort", "fast", "--gate", "latency", "--json"
    )
    gate = json.loads(done.stdout)["gate"]
    assert gate["met"] is (slowed == "float") and done.returncode == (0 if gate["met"] else 3)
    assert gate[f"{slowed}_ms"] > 20 and (gate["ratio"] > 2 if slowed == "float" else gate["ratio"] < 0.5)


def test_that_int8_is_slower_here_is_measured_and_said(network, tmp_path, slow_down, monkeypatch):
    out = tmp_path / "q.onnx"
    command = ("quantize", str(network), "-o", str(out), *FEW, "--effort", "fast", "--target", "cpu")
    monkeypatch.setattr("edgecnn.runtime.processor.has_vnni", lambda: True)
    slow_down(out)
    done = run(*command)
    assert done.returncode == 0 and "int8 is SLOWER than float here" in done.stdout
    slow_down(network)
    done = run(*command, "--json")
    speed = json.loads(done.stdout)["speed"]
    assert speed["verdict"] == "faster" and speed["interval"][0] < speed["ratio"] < speed["interval"][1]
    assert json.loads(done.stdout)["gate"] is None


def test_nothing_is_measured_for_another_machine(network, tmp_path, monkeypatch):
    monkeypatch.setattr("edgecnn.runtime.processor.has_vnni", lambda: False)
    done = run(
        "quantize", str(network), "-o", str(tmp_path / "q.onnx"), *FEW, "--effort", "fast", "--target", "cpu",
        "--json",
    )  # fmt: skip
    assert done.returncode == 0 and json.loads(done.stdout)["speed"] is None


def test_a_foreign_file_gets_a_manifest_and_a_note_on_its_preprocessing(network, tmp_path):
    foreign = tmp_path / "foreign.onnx"
    model = onnx.load(network)
    del model.metadata_props[:]
    onnx.save(model, foreign)
    done = run("quantize", str(foreign), "-o", str(tmp_path / "q.onnx"), *FEW, "--effort", "fast", "--json")
    assert done.returncode == 0, done.stderr
    assert any("--mean" in note for note in json.loads(done.stdout)["notes"])
    manifest = read_manifest(tmp_path / "q.onnx")
    assert manifest.preprocessing["mean"] == [0.485, 0.456, 0.406] and manifest.resolution == 64
    said = run(
        "quantize", str(foreign), "-o", str(tmp_path / "q.onnx"), *FEW, "--effort", "fast", "--json",
        "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5",
    )  # fmt: skip
    assert json.loads(said.stdout)["notes"] == []


LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
QUICK = ("light_squeezenet",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow)
        for path in sorted(LIGHT.glob("*.onnx"))
    ],
)
def test_foreign_networks_of_old_operator_sets_go_through(name, tmp_path):
    path = tmp_path / "q.onnx"
    done = run(
        "quantize", str(LIGHT / f"{name}.onnx"), "-o", str(path), "--effort", "fast",
        "--calib-images", "4", "--check-images", "4", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    # Their weights are constants, and so are most of their outputs: only nearness can be asked.
    assert report["parity"]["sqnr_db"] is None or report["parity"]["sqnr_db"] > 10
    if name == "light_squeezenet":
        assert any("same output for every image" in note for note in report["notes"])
    assert report["quantization"]["int8_mac_share"] > 0.95
    rules = set(report["quantization"]["float_nodes"].values())
    assert all(rule.startswith(("no int8", "it ", "its ")) for rule in rules), rules
    assert build(path) > 0


def test_top1_on_labelled_images_can_be_the_budget(lenet, tmp_path):
    done = run(
        "quantize",
        str(lenet),
        "-o",
        str(tmp_path / "q.onnx"),
        *FEW,
        "--max-drop",
        "50",
        "--data",
        "digits",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["quantization"]["attempts"][0]["top1_drop"] is not None


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-o", "{out}"], 2, "either SOURCE or --from"),
        (["{net}", "-o", "{out}", "--effort", "heroic"], 1, "heroic"),
        (["{net}", "-o", "{out}", "--ranges", "msee"], 1, "mse"),
        (["{net}", "-o", "{out}", "--max-drop", "1"], 1, "--data"),
        (["{net}", "-o", "{out}", "--min-agreement", "950"], 1, "0 to 100"),
        (["{net}", "-o", "{out}", "--fp16", "--min-sqnr", "20"], 1, "int8"),
        (["{net}", "-o", "{out}", "--mean", "a,b"], 1, "--mean"),
        (["{net}", "-o", "{out}", "--mean", "nan,0,0"], 1, "finite"),
        (["{net}", "-o", "{out}", "--mean", "0.5"], 1, "3 channels"),
        (["{net}", "-o", "{out}", "--seed", "-1"], 1, "seed of -1"),
        (["{net}", "-o", "{out}", "--plot", "s.gif", "--effort", "fast"], 1, ".png"),
        (["{int8}", "-o", "{out}"], 1, "quantized"),
        (["{net}", "-o", "{out}", "--min-agreement", "0.95"], 1, "in percent: 95"),
        (["{net}", "-o", "{net}"], 1, "would replace"),
        (["--from", "{net}", "-o", "{out}"], 1, "ranges"),
        (["--from", "{int8}", "-o", "{out}", "--fp16"], 2, "--fp16"),
        (["--from", "{int8}", "-o", "{out}", "--calib", "{dir}"], 2, "--calib"),
        (["{dir}/none.onnx", "-o", "{out}"], 1, "not there"),
    ],
)
def test_bad_input_gets_one_line_and_the_right_exit_code(arguments, code, words, network, int8, tmp_path):
    places = {"net": network, "int8": int8[0], "out": tmp_path / "q.onnx", "dir": tmp_path}
    done = run("quantize", *(argument.format(**places) for argument in arguments))
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.endswith("...")]
    assert lines[0].startswith("error: ") and len(lines) <= 2
    assert words in done.stderr and not (tmp_path / "q.onnx").exists()
