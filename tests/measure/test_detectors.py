"""A detector and a segmenter are measured on labelled pictures, compared, and their answers are drawn."""

import json

import numpy as np
import pytest
from PIL import Image
from program import SMALL, run_here
from small_detector import detector, pictures, segmenter

from edgecnn.data.folder import LabelledImages
from edgecnn.measure.accuracy import details_plot
from edgecnn.measure.accuracy.measure_outputs import measure_outputs
from edgecnn.runtime import load
from edgecnn.tasks.boxes import Boxes

PREPARED = ("--fit", "stretch", "--mean", "0,0,0", "--std", "1,1,1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A described detector, a described segmenter, pictures, their boxes and masks."""
    folder = tmp_path_factory.mktemp("detectors")
    files, boxes, masks = pictures(folder / "pictures", 8)
    (folder / "labels.txt").write_text("red\ngreen\n")
    model = detector(folder / "detector.onnx")
    done = run_here(
        "describe",
        str(model),
        *PREPARED,
        "--decoder",
        "yolov8",
        "--labels",
        str(folder / "labels.txt"),
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decoder"]["name"] == "yolov8"
    other = segmenter(folder / "segmenter.onnx")
    assert run_here("describe", str(other), *PREPARED).returncode == 0
    return folder, model, other, files, boxes, masks


def test_a_detector_is_measured_in_pixels_of_the_picture(made, tmp_path):
    pytest.importorskip("pycocotools")
    _, model, _, files, boxes, _ = made
    dataset = LabelledImages("pictures", files, boxes, task="detection")
    with load(model) as engine, load(model) as reference:
        found = measure_outputs(
            engine, dataset, "pictures", reference=reference, metric=engine.task.metric, batch=3, workers=2
        )
    # A square of 32 pixels is also four of 16, which are found too: precision suffers, recall does not.
    assert found.details.figures["recall 100"] > 85 and 20 < found.metric.value < 100
    assert found.metric.value == found.metric.reference == found.details.figures["mAP"]
    assert {row["name"] for row in found.details.classes} <= {"red", "green"}
    assert (
        found.parity.top1_agreement == 1 and found.parity.agreement_of == "boxes" and found.parity.counted > 8
    )
    told = json.loads(json.dumps(found.to_json()))
    assert told["metric"]["unit"] == "points of mAP" and told["details"]["per_class"]
    assert [item["share"] for item in told["worst"]] == [1.0] * 8
    details_plot.draw(found, tmp_path / "plot.png")
    assert Image.open(tmp_path / "plot.png").width > 500


def test_a_segmenter_is_measured_by_its_masks(made):
    _, _, model, files, _, masks = made
    dataset = LabelledImages("pictures", files, masks, task="segmentation")
    with load(model) as engine:
        assert engine.task.name == "segmentation" and engine.classes == 3
        found = measure_outputs(engine, dataset, "pictures", metric=engine.task.metric, batch=3, workers=1)
    assert found.metric.value > 80 and len(found.details.classes) == 3 and not found.details.curves


def test_labels_that_do_not_fit_a_picture_are_named(made):
    _, _, model, files, _, masks = made
    dataset = LabelledImages("pictures", files, [mask[:5] for mask in masks], task="segmentation")
    with load(model) as engine, pytest.raises(Exception, match="a mask of 5 x 128 pixels labels an image"):
        measure_outputs(engine, dataset, "pictures", metric=engine.task.metric, workers=1)


def test_answers_are_in_the_picture_and_drawn_into_a_copy(made, tmp_path):
    folder, model, other, files, boxes, _ = made
    drawn = tmp_path / "drawn"
    done = run_here("predict", str(model), str(files[0]), str(files[1]), "--draw", str(drawn), "--json")
    told = json.loads(done.stdout)
    assert [len(told["drawn"]), done.returncode] == [2, 0]
    for prediction, truth in zip(told["predictions"], boxes, strict=False):
        found = [item for item in prediction["objects"] if item["score"] > 0.5]
        assert found and {item["label"] for item in found} <= {"red", "green"}
        corners = np.array([item["box"] for item in found])
        assert corners.min() >= -1 and corners.max() <= 129
        assert set(truth.classes.tolist()) <= {item["index"] for item in found}
    copy = Image.open(drawn / files[0].with_suffix(".png").name)
    original = Image.open(files[0])
    assert copy.size == original.size and copy.tobytes() != original.tobytes()
    assert run_here("predict", str(other), str(files[0]), "--draw", str(drawn)).returncode == 0
    done = run_here("predict", str(model), str(files[0]), "--draw", str(folder / "pictures"))
    assert done.returncode == 1 and "is where the images lie" in done.stderr


def test_what_has_no_place_in_a_picture_is_refused_before_anything_is_made(exported, made, tmp_path):
    done = run_here("predict", str(exported(*SMALL)), str(made[3][0]), "--draw", str(tmp_path / "drawn"))
    assert done.returncode == 1 and "has no place in a picture" in done.stderr
    assert not (tmp_path / "drawn").exists()


def test_a_layout_that_cannot_be_told_is_asked_for(made, tmp_path):
    files = made[3]
    plain = detector(tmp_path / "plain.onnx")
    done = run_here("predict", str(plain), *PREPARED, str(files[0]))
    assert done.returncode == 0 and "output0  6 x 84 float32" in done.stdout
    done = run_here("predict", str(plain), *PREPARED, "--decoder", "yolov8", str(files[0]))
    assert (done.returncode == 0 and "class 0 (0)" in done.stdout) or "class 1 (1)" in done.stdout
    done = run_here("predict", str(plain), *PREPARED, "--decoder", "yolo", str(files[0]))
    assert done.returncode != 0 and "yolov8" in done.stderr
    done = run_here("predict", str(plain), *PREPARED, "--decoder", "detr", str(files[0]))
    assert done.returncode == 1 and "cannot be read by the decoder detr" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_box_is_a_row_like_any_other(made):
    """Empty and crowded labels are labels too."""
    pytest.importorskip("pycocotools")
    _, model, _, files, boxes, _ = made
    none = Boxes(np.empty((0, 4)), [])
    crowd = Boxes(boxes[1].corners, boxes[1].classes, crowd=[True] * len(boxes[1]))
    dataset = LabelledImages("pictures", files[:2], [none, crowd], task="detection")
    with load(model) as engine:
        found = measure_outputs(engine, dataset, "pictures", metric=engine.task.metric, workers=1)
    assert found.metric.value == 0 and found.details.classes == []


def coco(images, files, boxes):
    """COCO's description of pictures, which are copied to a folder."""
    rows = []
    for number, (path, truth) in enumerate(zip(files, boxes, strict=True), 1):
        (images / path.name).write_bytes(path.read_bytes())
        for (x0, y0, x1, y1), kind in zip(truth.corners.tolist(), truth.classes, strict=True):
            rows.append({"id": len(rows) + 1, "image_id": number, "category_id": int(kind) + 1, "iscrowd": 0,
                         "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)})  # fmt: skip
    named = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    sizes = [
        {"id": n, "file_name": path.name, "width": 128, "height": 128} for n, path in enumerate(files, 1)
    ]
    return json.dumps({"images": sizes, "annotations": rows, "categories": named})


def test_a_folder_of_boxes_is_evaluated_by_the_command(made, tmp_path):
    pytest.importorskip("pycocotools")
    _, model, _, files, boxes, _ = made
    for part, images in (("train", pictures(tmp_path / "other", 30)[:2]), ("val", (files, boxes))):
        folder = tmp_path / "data" / part
        folder.mkdir(parents=True)
        (tmp_path / "data/annotations").mkdir(exist_ok=True)
        (tmp_path / f"data/annotations/instances_{part}.json").write_text(coco(folder, *images))
    plot = tmp_path / "plot.png"
    words = ("eval", str(model), "--data", str(tmp_path / "data"), "--reference", str(model), "--no-store")
    done = run_here(*words, "--plot", str(plot), "--per-class")
    assert done.returncode == 0, done.stderr
    assert "mAP50" in done.stdout and "red" in done.stdout
    assert "(the reference" in done.stdout and plot.is_file()
    assert Image.open(plot.with_name("plot_changed.png")).width > 1000
    told = json.loads(run_here(*words, "--json").stdout)
    assert told["n"] == 8 and told["metric"]["name"] == "mAP" and told["agreement"]["parity"]["counted"] > 8
