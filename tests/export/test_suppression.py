"""Decoding and suppression in the graph give the boxes of the numpy decoder, and engines take such graphs."""

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from detector_settings import FCOS, RETINANET, SSDLITE
from onnx import TensorProto, helper
from program import run_here

from edgecnn.artifact import read_manifest
from edgecnn.errors import EngineError, InvalidValueError, ParityError
from edgecnn.export.suppression import demand_same_boxes, with_suppression
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks import anchors
from edgecnn.tasks.decoders import DECODERS

SIZE = Size(96, 128)
SETTINGS = {
    "ssd": {**SSDLITE, "score": 0.3, "limit": 60, "candidates": 40},
    "retinanet": {**RETINANET, "score": 0.9, "limit": 80, "candidates": 100, "coding": [1, 2, 3, 4]},
    "fcos": {**FCOS, "score": 0.6, "limit": 80, "candidates": 100},
    "yolox": {"strides": [8, 16, 32], "score": 0.3},
}
ANCHORS = {"ssd": anchors.ssd, "retinanet": anchors.retinanet, "fcos": anchors.fcos, "yolox": anchors.yolox}


def raw_network(name, classes=5):
    """A graph that hands on what it is given, as a detector's raw outputs; random ones; their settings."""
    settings = {"name": name, **SETTINGS[name]}
    rows = len(ANCHORS[name](settings, SIZE))
    widths = {"scores": classes + (name == "ssd"), "boxes": 4}
    widths |= {"fcos": {"centerness": 1}, "yolox": {"objectness": 1}}.get(name, {})
    generator = np.random.default_rng(len(name))
    values = {
        key: generator.normal(0, 2, (2, rows, width)).astype(np.float32) for key, width in widths.items()
    }
    if name == "fcos":
        values["boxes"] = np.abs(values["boxes"])
    infos = [
        [helper.make_tensor_value_info(f"{key}{end}", TensorProto.FLOAT, ["n", rows, width]) for key, width in
         widths.items()]
        for end in ("_in", "")
    ]  # fmt: skip
    nodes = [helper.make_node("Identity", [f"{key}_in"], [key], f"hand_{key}") for key in widths]
    graph = helper.make_graph(nodes, name, *infos)
    return (
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        values,
        settings,
    )


def run(model, values):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {f"{key}_in": value for key, value in values.items()})[0]


@pytest.mark.parametrize("columns", [None, [3, 1]])
@pytest.mark.parametrize("name", SETTINGS)
def test_the_graphs_boxes_are_the_decoders(name, columns):
    model, values, settings = raw_network(name)
    settings |= {"classes": columns} if columns else {}
    ended, reads = with_suppression(model, settings, SIZE)
    onnx.checker.check_model(ended, full_check=True)
    found = DECODERS.get("end-to-end").decode([Output("detections", run(ended, values))], reads, SIZE)
    expected = DECODERS.get(name).decode([Output(*item) for item in values.items()], settings, SIZE)
    for mine, other in zip(found, expected, strict=True):
        assert len(mine) == len(other) > 10
        np.testing.assert_allclose(mine.scores, other.scores, atol=1e-5)
        np.testing.assert_allclose(mine.corners, other.corners, atol=1e-2)
        assert mine.classes.tolist() == other.classes.tolist()


def test_another_graphs_boxes_are_refused():
    model, values, settings = raw_network("ssd")
    ended, _ = with_suppression(model, settings, SIZE)
    raw = [Output(*item) for item in values.items()]
    found = run(ended, values)
    demand_same_boxes(raw, [Output("detections", found)], settings, SIZE)
    outside = dict(values, boxes=values["boxes"] * 40)  # many are cut to nothing at an edge
    raw_outside = [Output(*item) for item in outside.items()]
    demand_same_boxes(raw_outside, [Output("detections", run(ended, outside))], settings, SIZE)
    found[..., :4] += 5
    with pytest.raises(ParityError, match="the graph with suppression finds"):
        demand_same_boxes(raw, [Output("detections", found)], settings, SIZE)
    with pytest.raises(InvalidValueError, match="decoder detr has no form as a graph"):
        with_suppression(model, {"name": "detr"}, SIZE)


@pytest.mark.slow
def test_an_export_ends_in_boxes_and_engines_take_it_or_say_why(tmp_path):
    """Should a later TensorRT-RTX build it, docs/tasks.md has to say so."""
    from tensorrt_build import build

    path = tmp_path / "m.onnx"
    words = ("export", "ssdlite", "--alpha", "0.25", "--resolution", "96", "--nms", "-o", str(path))
    done = run_here(*words, "--json")
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(path)
    assert manifest.task == "detection" and manifest.decoder["name"] == "end-to-end"
    assert [spec.name for spec in manifest.outputs] == ["detections"]
    done = run_here("predict", str(path), "edgecnn/runtime/espresso.jpg", "--json")
    assert done.returncode == 0, done.stderr
    done = run_here("compile", str(path), "--backend", "openvino", "-o", str(tmp_path / "m.xml"), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["parity"]["top1_agreement"] > 0.98
    with pytest.raises(EngineError, match="NonMaxSuppression"):
        build(path)
    plain = tmp_path / "raw.onnx"
    assert run_here(*words[:-3], "-o", str(plain)).returncode == 0
    assert build(plain) > 10_000


def test_only_a_detector_can_end_in_boxes():
    done = run_here("export", "mobilenet", "--nms")
    assert done.returncode != 0 and "is for detectors" in done.stderr
