"""Int8 that keeps almost nothing is said to be destroyed, whoever made it, unless that is accepted."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from program import run_here as run

from edgecnn.artifact import read_manifest
from edgecnn.budget import Budget
from edgecnn.parity import Parity
from edgecnn.quantize.accuracy_floor import causes, ruined
from edgecnn.runtime.preprocessing import Preprocessing

FAST = ("--calib-images", "8", "--check-images", "16", "--effort", "fast")


def parity(decibels, agreement):
    return Parity(0.1, decibels, agreement, 16, 3)


@pytest.mark.parametrize(
    ("decibels", "agreement", "budget", "keeps"),
    [
        (10.0, 0.5, Budget(), None),
        (9.9, 0.9, Budget(), "9.9 dB"),
        (20.0, 0.49, Budget(), "49% of the decisions"),
        (3.0, 0.2, Budget(), "3.0 dB and 20% of the decisions"),
        (9.9, None, Budget(), "9.9 dB"),
        (20.0, None, Budget(), None),
        (5.0, 0.9, Budget(min_sqnr_db=4.0), None),
        (5.0, 0.4, Budget(min_sqnr_db=4.0), "40% of the decisions"),
        (5.0, 0.4, Budget(max_drop=1.0), None),
    ],
)
def test_the_floor_is_10_db_and_half_of_the_decisions_unless_a_budget_says_otherwise(
    decibels, agreement, budget, keeps
):
    found = ruined(parity(decibels, agreement), budget, ["why"], accepted=False)
    assert (found and found.keeps) == keeps


@pytest.mark.parametrize(("drop", "destroyed"), [(None, True), (1.5, True), (0.5, False), (-2.0, False)])
def test_labelled_images_on_which_hardly_any_top1_is_lost_say_that_nothing_is_destroyed(drop, destroyed):
    found = ruined(parity(3.0, 0.2), Budget(), ["why"], accepted=False, drop=drop)
    assert (found is not None) == destroyed


def test_the_images_are_suspected_first_and_the_network_last():
    first, second, last = causes((Preprocessing(), "assumption"), "photos", 8)
    assert "mean 0.485,0.456,0.406" in first and "8 of photos" in second and "layers" in last


def ruinous(path):
    """Maps of a convolution that ignores the one channel whose range the others have to share."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, 8, 1, 1)).astype(np.float32)
    weights[:, 0] = 0
    scale = np.ones((8, 3, 3, 3), np.float32)
    scale[0] = 3000
    values = {"w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32) * scale, "v": weights}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[3, 3]),
        helper.make_node("Conv", ["p", "v"], ["y"], name="conv2", kernel_shape=[1, 1]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"], name="gap"),
        helper.make_node("Flatten", ["g"], ["f"], name="flat"),
        helper.make_node("ArgMax", ["f"], ["best"], name="best", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [
            helper.make_tensor_value_info("best", TensorProto.INT64, ["n", 1]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8, 30, 30]),
        ],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def test_a_destroyed_file_ends_with_3_and_its_causes_unless_it_is_forced(tmp_path):
    source, out = ruinous(tmp_path / "m.onnx"), tmp_path / "q.onnx"
    done = run("quantize", source, "-o", str(out), *FAST)
    assert done.returncode == 3, done.stderr
    assert "was written all the same" in done.stdout and "exit code is 3" in done.stdout
    assert "exit code 0" in done.stdout.splitlines()[-1]
    assert "only 4.6 dB of output 'y': int8 DESTROYS" in run("info", str(out)).stdout
    assert "DESTROYS" in done.stdout and "of output 'y'" in done.stdout and "next:" not in done.stdout
    causes = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert any("1. the images are prepared otherwise" in line for line in causes)
    record = read_manifest(out).quantization["floor"]
    assert record["met"] is False and not record["accepted"] and record["min_sqnr_db"] == 10

    done = run("quantize", source, "-o", str(out), *FAST, "--force", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["quantization"]["floor"]["accepted"] is True
    assert "taken as it is" in run("info", str(out)).stdout
    by_name = {item["name"]: item for item in report["parity"]["outputs"]}
    assert by_name["best"]["kind"] == "class scores", "an integer is compared by what its argmax sees"
    assert report["parity"]["sqnr_db"] == by_name["y"]["sqnr_db"] < by_name["best"]["sqnr_db"]

    # A budget is of the worst output: the first one alone would meet it.
    done = run("quantize", source, "-o", str(out), *FAST, "--min-sqnr", "20", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["parity"]["sqnr_db"] >= 20 else 3)
    assert report["quantization"]["attempts"][0]["sqnr_db"] < 10

    done = run("quantize", source, "-o", str(out), *FAST, "--min-sqnr", "90")
    assert done.returncode == 3 and "NOT met; written is the best" in done.stdout
    assert "NOT met" in run("info", str(out)).stdout


def test_random_weights_get_a_note_only(tmp_path, monkeypatch):
    monkeypatch.setattr("edgecnn.quantize.accuracy_floor.FLOOR", Budget(min_sqnr_db=200.0, min_agreement=0.5))
    done = run("export", "lenet5", "--int8", "--calib-images", "8", "-o", str(tmp_path / "q.onnx"))
    assert done.returncode == 0, done.stderr
    assert "note: int8 destroys this network" in done.stdout and "next:" in done.stdout


@pytest.mark.parametrize(
    ("record", "met"), [({"accepted": False}, False), ({"accepted": True}, None), (None, None)]
)
def test_a_trained_file_below_the_floor_is_not_met_even_when_it_is_found_again(record, met, tmp_path):
    from edgecnn.artifact import Manifest
    from edgecnn.compress.train.train_network import Trained

    manifest = Manifest((), (), quantization={"floor": record} if record else {})
    assert Trained(tmp_path / "q.onnx", "", manifest, [], [], 0.0, done_before=True).met is met
