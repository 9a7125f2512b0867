"""`edgecnn info` of networks: the table, side by side, JSON, and the plot."""

import json
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import onnx.parser
import pytest
from foreign_graphs import head, model_of, stem
from program import run, run_here

from edgecnn.artifact import METADATA_KEY, Manifest, TensorSpec
from edgecnn.measure import provenance
from edgecnn.runtime import load


def json_of(*arguments: str) -> dict:
    done = run_here("info", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_the_table_has_the_layers_that_work_and_the_totals():
    lines = run_here("info", "resnet18").stdout.splitlines()
    table = {cells(line)[0]: cells(line)[1:] for line in lines if cells(line)}
    assert table["layer"] == [
        "kind", "output", "kernel", "params", "MACs", "field", "step", "memory"
    ]  # fmt: skip
    assert table["conv1"] == [
        "conv", "64x112x112", "7x7/2", "9.41 k", "118 M", "7", "2", "3.21 MB"
    ]  # fmt: skip
    assert table["layer4.1.add"] == ["add", "512x7x7", "435", "32", "0.10 MB"]
    assert table["fc"][:2] == ["linear", "1000"] and "all" in table["fc"]
    assert "layer1.0.bn1" not in table
    assert table["cost"] == ["11,689,512 parameters, 1,814,073,344 MACs"]
    assert table["field"] == ["435 pixels before global pooling"]


def test_all_lists_normalizations_and_activations():
    assert "layer1.0.bn1" in run_here("info", "resnet18", "--all").stdout
    assert "not listed" not in run_here("info", "resnet18", "--all").stdout


def test_json_has_the_totals_and_every_layer():
    found = json_of("mobilenet", "--alpha", "0.5", "--resolution", "160")
    assert found["architecture"] == "mobilenet_v1" and found["alpha"] == 0.5 and found["resolution"] == 160
    assert found["params"] == 1_331_592 and found["receptive_field"] == 315
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert found["peak_activation_bytes"] == max(layer["live_bytes"] for layer in found["layers"])
    assert found["arithmetic_intensity"] > 1 and sum(found["mac_share"].values()) == pytest.approx(1)
    first = found["layers"][0]
    assert (first["name"], first["kind"], first["output_shape"]) == ("conv_stem", "conv", [16, 80, 80])
    assert (first["kernel"], first["stride"], first["receptive_field"]) == ([3, 3], [2, 2], 3)


def test_attention_and_training_only_parameters_are_said():
    assert "products of activations" in run_here("info", "vit_tiny").stdout
    assert "6,379,984 of the parameters are only used in training" in run_here("info", "googlenet_bn").stdout


def test_several_networks_stand_side_by_side():
    lines = run_here("info", "resnet18", "mobilenet_v2", "vit_tiny").stdout.splitlines()
    table = {cells(line)[0]: cells(line)[1:] for line in lines if cells(line)}
    assert table["resnet18"] == ["mobilenet_v2", "vit_tiny"]
    assert table["year"] == ["2015", "2018", "2020"]
    assert table["parameters"] == ["11.7 M", "3.5 M", "5.72 M"]
    assert table["receptive field"] == ["435 pixels", "491 pixels", "not defined"]
    assert {"MACs", "peak memory", "operations per byte", "resolution", "MACs in depthwise conv"} <= set(
        table
    )
    results = json_of("resnet18", "mobilenet_v2")["results"]
    assert [item["architecture"] for item in results] == ["resnet18", "mobilenet_v2"]


def test_a_plot_as_png(tmp_path):
    path = tmp_path / "m.png"
    done = run_here("info", "mobilenet", "--plot", str(path))
    assert done.returncode == 0 and str(path) in done.stdout
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.read_bytes().endswith(
        b"IEND\xaeB`\x82"
    )
    assert os.listdir(tmp_path) == ["m.png"]


def test_a_plot_as_svg_is_the_same_every_time_and_has_its_words(tmp_path):
    paths = [tmp_path / "a.svg", tmp_path / "b.SVG"]
    for path in paths:
        assert json_of("resnet18", "--plot", str(path))["plot"] == str(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    root = ElementTree.fromstring(paths[0].read_text())
    words = " ".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("text"))
    assert root.tag.endswith("svg")
    for wanted in (
        "resnet18 x 1, 3 x 224 x 224: 11.7 M parameters, 1.81 G MACs",
        "MACs, millions",
        "parameters, millions",
        "live activations, MB",
        "layer, in the order in which they run",
        "peak 4.01 MB at maxpool",
    ):
        assert wanted in words


BAD = {
    "suffix": (1, "lenet5 --plot {}/x.jpg", "cannot be written as 'x.jpg'", ".png, .svg"),
    "no suffix": (1, "lenet5 --plot {}/x", "cannot be written as 'x'", ".png, .svg"),
    "no folder": (1, "lenet5 --plot {}/none/x.png", "the folder does not exist", "create"),
    "unknown network": (1, "lenet6 --plot {}/x.png", "unknown architecture", "lenet5"),
    "unknown second network": (1, "lenet5 lenet6", "unknown architecture", "lenet5"),
    "unfit resolution": (1, "lenet5 --resolution 9 --plot {}/x.png", "cannot take an input of 9", "32"),
    "no resolution": (1, "resnet18 --resolution 0", "'0' is no size", "224"),
    "negative resolution": (1, "resnet18 --resolution -5", "'-5' is no size", "224"),
    "alpha": (1, "lenet5 --alpha 0", "alpha must be above 0", "0.5"),
    "plot of two": (2, "lenet5 resnet18 --plot {}/x.png", "--plot draws one network", "--help"),
    "plot of a file": (2, "m.onnx --plot {}/x.png", "--plot draws one network", "--help"),
    "a file among names": (2, "lenet5 m.onnx", "m.onnx is a model file", "--help"),
    "nothing": (2, "", "Missing argument", "--help"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_leaves_nothing_behind(tmp_path, case):
    code, line, message, hint = BAD[case]
    done = run_here("info", *line.replace("{}", str(tmp_path)).split(), cwd=tmp_path)
    error, way_out = done.stderr.splitlines()
    assert done.returncode == code and done.stdout == ""
    assert error.startswith("error: ") and message in error and hint in way_out
    assert os.listdir(tmp_path) == []


def test_an_earlier_plot_survives_a_failed_run(tmp_path):
    (tmp_path / "x.png").write_bytes(b"earlier")
    done = run_here("info", "lenet5", "--resolution", "9", "--plot", str(tmp_path / "x.png"))
    assert done.returncode == 1 and (tmp_path / "x.png").read_bytes() == b"earlier"


def test_without_matplotlib_the_remedy_is_named(tmp_path):
    (tmp_path / "matplotlib.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'matplotlib'\", name='matplotlib')"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run("info", "lenet5", "--plot", str(tmp_path / "x.png"), env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 1 and 'pip install "edgecnn[plot]"' in done.stderr
    assert not (tmp_path / "x.png").exists()


def test_no_compiler_is_imported_for_a_plain_network():
    import subprocess
    import sys

    code = (
        "import sys\n"
        "from edgecnn.zoo.analysis.analyze import study\n"
        "study('resnet50'); study('inception_v3')\n"
        "print([name for name in ('sympy', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_file_without_a_manifest_is_looked_into():
    squeezenet = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"
    printed = run_here("info", str(squeezenet)).stdout
    assert "not made by edgecnn" in printed
    assert "float32 NCHW 1 x 3 x 224 x 224" in printed and "float32 1 x 1000" in printed
    found = json_of(str(squeezenet))
    assert not found["manifest"] and found["inputs"][0]["shape"] == [1, 3, 224, 224]


def test_every_input_of_a_file_is_listed(tmp_path):
    path = tmp_path / "two.onnx"
    parts = "agraph (float[N, 3] x, int64[2] z) => (float[N, 3] y) { a = ReduceSum(x, z)\n y = Add(x, a) }"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {parts}'), path)
    lines = run_here("info", str(path)).stdout.splitlines()
    assert [line.split() for line in lines if line.endswith(("(x)", "(z)"))] == [
        ["input", "float32", "NC", "N", "x", "3", "(x)"],
        ["int64", "2", "(z)"],
    ]


def test_the_size_of_a_file_is_that_of_its_weights_beside_it_too(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(model_of(stem(), head()), path, save_as_external_data=True, location="w", size_threshold=100)
    whole = path.stat().st_size + (tmp_path / "w").stat().st_size
    assert json_of(str(path))["bytes"] == whole
    assert f"({whole / 1000:.1f} kB," in run_here("info", str(path)).stdout
    assert provenance.describe(load(path))["bytes"] == whole


def test_every_output_of_a_file_with_a_manifest_is_listed(tmp_path):
    model = model_of(stem(), head())
    image = TensorSpec("x", ("n", 3, 32, 32), "float32", "NCHW")
    outputs = tuple(TensorSpec(name, ("n", 8), "float32", "NC") for name in ("y", "depth"))
    model.metadata_props.add(key=METADATA_KEY, value=Manifest((image,), outputs).to_json())
    onnx.save(model, tmp_path / "two.onnx")
    lines = run_here("info", "two.onnx", cwd=tmp_path).stdout.splitlines()
    assert [line.split() for line in lines if "n x 8" in line] == [
        ["output", "float32", "n", "x", "8", "(y)"],
        ["float32", "n", "x", "8", "(depth)"],
    ]
