"""What a detector's outputs say of pictures, and how much of it another network keeps."""

import json

import numpy as np
import pytest

from edgecnn.artifact import TensorSpec
from edgecnn.errors import ArtifactError, ParityError, UnknownNameError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks import TASKS, NetworkEnd, task_of
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.compare import compare_outputs
from edgecnn.tasks.view import View

SIZE = Size(100, 200)
ROWS = NetworkEnd([TensorSpec("output0", ("n", 300, 6), "float32", "")], SIZE)


def detector(**settings):
    return task_of(None, ROWS, {"name": "end-to-end", **settings})


def found(*images):
    """Outputs of boxes: (x0, y0, x1, y1, score, class) each."""
    most = max(map(len, images))
    rows = [[*image, *[(0, 0, 0, 0, 0, 0)] * (most - len(image))] for image in images]
    return [Output("output0", np.array(rows, np.float32))]


def test_outputs_tell_the_task_and_so_does_a_decoder():
    assert task_of(None, ROWS).name == "detection" and task_of(None, ROWS).decoder["name"] == "end-to-end"
    maps = NetworkEnd([TensorSpec("m", ("n", 1, 8, 8), "float32", "NCHW")], Size(32, 32))
    assert task_of(None, maps).name == "tensors" and task_of(None, maps).decoder is None
    assert task_of(None, maps, {"name": "dbnet"}).name == "detection"
    assert task_of(None, maps, {"name": "logit-mask"}).name == "segmentation"
    assert task_of("detection", maps, {"name": "dbnet", "grow": 2.0}).decoder["grow"] == 2.0


def test_a_decoder_that_does_not_fit_is_named():
    with pytest.raises(UnknownNameError, match="unknown decoder 'yolo9000'"):
        task_of(None, ROWS, {"name": "yolo9000"})
    with pytest.raises(ArtifactError, match="logit-mask is none for detection"):
        task_of("detection", ROWS, {"name": "logit-mask"})
    raw = NetworkEnd([TensorSpec("o", ("n", 8400, 85), "float32", "")], Size(640, 640))
    with pytest.raises(ArtifactError, match="cannot be told safely") as caught:
        task_of("detection", raw).demand_answers(raw.outputs, "m.onnx")
    assert "`decoder`" in caught.value.hint and "yolox" in caught.value.hint
    free = NetworkEnd(ROWS.outputs, None)
    with pytest.raises(ArtifactError, match="size of the network's input is free"):
        task_of(None, free).answers(found([(0, 0, 1, 1, 1, 0)]), None, None)


def test_objects_are_said_in_pixels_of_the_picture():
    view = View(Size(50, 50), SIZE, (2.0, 2.0), (50.0, 0.0))
    outputs = found([(60, 10, 90, 30, 0.9, 1), (0, 0, 60, 20, 0.4, 0), (0, 0, 9, 9, 0.2, 0)])
    (answer,) = detector().answers(outputs, lambda count: ("cat", "dog"), None, [view])
    assert answer.labels == ("class 1", "class 0")  # nothing says how many classes there are
    assert answer.boxes.corners.tolist() == [[5, 5, 20, 15], [0, 0, 5, 10]]
    task = task_of(None, NetworkEnd(ROWS.outputs, SIZE, 2), None)
    (answer,) = task.answers(outputs, lambda count: ("cat", "dog")[:count], 1, [view])
    assert task.lines(answer) == [" 90.0%  dog (1)  at 5, 5: 15 x 10"]
    told = json.loads(json.dumps(task.to_json(answer)))["objects"]
    assert told == [{"index": 1, "label": "dog", "score": pytest.approx(0.9), "box": [5, 5, 20, 15]}]
    (nothing,) = task.answers(found([(0, 0, 1, 1, 0.1, 0)]), lambda count: (), None)
    assert task.lines(nothing) == ["nothing found"]


def test_what_is_kept_are_sure_boxes_in_place_and_of_their_class():
    reference = found(
        [
            (0, 0, 100, 50, 0.9, 0),
            (100, 0, 200, 50, 0.5, 1),
            (0, 50, 100, 100, 0.31, 1),
            (0, 0, 9, 9, 0.2, 0),
        ],
        [(0, 0, 50, 50, 0.8, 0)],
    )
    other = found(
        [(0, 0, 99, 50, 0.2, 0), (100, 0, 180, 50, 0.5, 1), (0, 50, 100, 100, 0.4, 0)],
        [(0, 0, 50, 50, 0.9, 0)],
    )
    task = detector()
    kept = task.kept(reference, reference)
    assert (kept.share, kept.count, kept.of) == (1, 4, "boxes")
    assert task.kept(reference, other).share == 0.5  # one moved, one is of another class
    twice = found([(0, 0, 100, 50, 0.9, 0), (0, 0, 98, 50, 0.9, 0)], [])
    assert task.kept(twice, found([(0, 0, 100, 50, 0.9, 0)], [])).share == 0.5  # one box finds one
    parity = compare_outputs(reference, reference, "it", task=task)
    assert parity.top1_agreement == 1 and parity.agreeing == "100% of 4 boxes agree"
    assert parity.to_json()["agreement_of"] == "boxes" and parity.to_json()["counted"] == 4


def test_a_reference_that_finds_nothing_proves_nothing():
    poor = found([(0, 0, 9, 9, 0.2, 0)], [(0, 0, 9, 9, 0.1, 0)])
    assert detector().kept(poor, poor).share is None
    with pytest.raises(ParityError, match="finds no box of 30% or more in 2 images"):
        detector().demand_decisions(poor)
    detector().demand_decisions(found([(0, 0, 9, 9, 0.3, 0)]))


@pytest.mark.parametrize("name", ["detection", "segmentation"])
def test_a_row_of_the_table_knows_no_network(name):
    with pytest.raises(ArtifactError, match="cannot be told safely"):
        TASKS.get(name).demand_answers([], "m.onnx")


def pairs(seed, images=12, classes=3):
    """Boxes that were found and those that are there, some of them crowds."""
    generator = np.random.default_rng(seed)
    result = []
    for _ in range(images):
        count = int(generator.integers(0, 9))
        low = generator.uniform(0, 200, (count, 2))
        truth = np.concatenate([low, low + generator.uniform(5, 150, (count, 2))], axis=1)
        labels = generator.integers(0, classes, count)
        rows = np.concatenate([np.arange(count), generator.integers(0, max(1, count), 6 if count else 0)])
        moved = truth[rows] + generator.normal(0, 4, (len(rows), 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        kind = np.where(
            generator.random(len(rows)) < 0.8, labels[rows], generator.integers(0, classes, len(rows))
        )
        scores = generator.random(len(rows))
        result.append(
            (Boxes(moved, kind, scores), Boxes(truth, labels, crowd=generator.random(count) < 0.15))
        )
    return result


def test_map_is_pycocotools(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    images = pairs(1)
    annotations, results = [], []
    for number, (found_boxes, truth) in enumerate(images):
        for corners, index, crowd in zip(truth.corners, truth.classes, truth.crowd, strict=True):
            x0, y0, x1, y1 = map(float, corners)
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": int(index) + 5,
                                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0),
                                "iscrowd": int(crowd)})  # fmt: skip
        for corners, index, score in zip(
            found_boxes.corners, found_boxes.classes, found_boxes.scores, strict=True
        ):
            x0, y0, x1, y1 = map(float, corners)
            results.append({"image_id": number, "category_id": int(index) + 5, "score": float(score),
                            "bbox": [x0, y0, x1 - x0, y1 - y0]})  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps({
        "images": [{"id": number} for number in range(len(images))], "annotations": annotations,
        "categories": [{"id": index + 5} for index in range(3)],
    }))  # fmt: skip
    (tmp_path / "found.json").write_text(json.dumps(results))
    truth = coco.COCO(str(tmp_path / "truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metric = detector().metric
    parts = [images[:5], images[5:]]
    assert metric.figure(parts) == pytest.approx(100 * evaluation.stats[0], abs=1e-6)
    details = metric.details(parts, ["a", "b"])
    expected = [None if value < 0 else 100 * value for value in evaluation.stats]
    assert [*details.figures.values()] == pytest.approx(expected, abs=1e-6)
    assert [row["name"] for row in details.classes] == ["a", "b", "class 2"]
    assert 20 < np.mean([row["AP"] for row in details.classes]) == pytest.approx(details.figures["mAP"])
    assert len(details.curves) == 3 and details.curves[0].x.shape == (101,)


def test_map_of_nothing_is_nothing(capsys):
    pytest.importorskip("pycocotools")
    metric = detector().metric
    none = Boxes(np.empty((0, 4)), [])
    assert metric(found([(0, 0, 1, 1, 0.9, 0)]), [none]) == 0
    assert metric(found([(0, 0, 0, 0, 0, 0)]), [Boxes([[0, 0, 9, 9]], [1])]) == 0
    assert metric(found([(10, 0, 20, 10, 0.9, 1)]), [Boxes([[5, 0, 10, 5]], [1])], [
        View(Size(50, 100), SIZE, (2.0, 2.0))
    ]) == pytest.approx(100)  # fmt: skip
    assert capsys.readouterr().out == ""


def test_ranked_boxes_are_compared_with_those_that_they_stand_for():
    """Two nearly equal scores change places by rounding."""
    one, two, low = (0, 0, 100, 50, 0.9, 0), (100, 0, 200, 50, 0.9, 1), (5, 5, 9, 9, 0.01, 2)
    other = (50, 50, 90, 90, 0.02, 1)
    reference, swapped = found([one, two, low], [two, low, low]), found([two, one, other], [two, other, low])
    parity = compare_outputs(reference, swapped, "it", task=detector())
    assert parity.sqnr_db == np.inf and parity.top1_agreement == 1
    lost = compare_outputs(reference, found([two, other, other], [two, low, low]), "it", task=detector())
    assert lost.sqnr_db < 10 and lost.top1_agreement == pytest.approx(2 / 3)
    nothing = found([low, low, low], [other, low, low])
    assert compare_outputs(nothing, nothing, "it", constant=True, task=detector()).sqnr_db == np.inf


def test_a_box_that_was_cut_to_nothing_is_nowhere():
    outputs = found([(0, 0, 100, 50, 0.9, 0), (0, 0, 0, 50, 0.8, 0)], [(0, 0, 50, 50, 0.7, 1)])
    parity = compare_outputs(outputs, outputs, "it", task=detector())
    assert parity.top1_agreement == 1 and parity.counted == 2 and parity.sqnr_db == np.inf
