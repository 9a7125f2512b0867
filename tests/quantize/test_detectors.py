"""Int8 of a detector: what it keeps are boxes, and what it may lose are points of mAP."""

import json

import numpy as np
import pytest
from program import run_here
from small_detector import detector, pictures

from edgecnn.artifact import read_manifest
from edgecnn.data.folder import LabelledImages
from edgecnn.quantize import labelled_accuracy
from edgecnn.quantize.graph.load_model import load
from edgecnn.quantize.labelled_accuracy import Labelled
from edgecnn.runtime.preprocessing import Preprocessing

PLAIN = Preprocessing(64, fit="stretch", mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    files, boxes, _ = pictures(folder / "pictures", 20)
    return folder, detector(folder / "float.onnx"), files, boxes


def test_matched_boxes_are_what_int8_keeps(made):
    folder, model, _, _ = made
    output = folder / "int8.onnx"
    done = run_here(
        "quantize", str(model), "-o", str(output), "--calib", str(folder / "pictures"), "--fit", "stretch",
        "--mean", "0,0,0", "--std", "1,1,1", "--decoder", "yolov8", "--effort", "fast", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parity = json.loads(done.stdout)["parity"]
    assert parity["agreement_of"] == "boxes" and parity["counted"] > 3 and parity["top1_agreement"] > 0.9
    manifest = read_manifest(output)
    assert manifest.task == "detection" and manifest.decoder["name"] == "yolov8"


def test_a_drop_is_of_map(made, monkeypatch):
    pytest.importorskip("pycocotools")
    _, path, files, boxes = made
    dataset = LabelledImages("pictures", files, boxes, task="detection")
    monkeypatch.setattr(labelled_accuracy, "test_images", lambda *given, task: dataset)
    model = load(path).model
    manifest = read_manifest(made[0] / "int8.onnx") or None
    labelled = Labelled.open("pictures", PLAIN, manifest, model)
    assert labelled.reference > 20 and labelled.drop(model) == 0
    worse = load(path).model
    bias = next(item for item in worse.graph.initializer if item.name == "b8")
    bias.raw_data = np.float32([8, 8, 0, 0, -12, -12]).tobytes()  # boxes lie elsewhere
    assert labelled.drop(worse) > 5
