"""What a segmenter's outputs say of pictures, and how much of it another network keeps."""

import numpy as np
import pytest

from edgecnn.artifact import TensorSpec
from edgecnn.errors import DataError, ParityError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks import NetworkEnd, task_of
from edgecnn.tasks.mean_iou import counted, of_classes, summed
from edgecnn.tasks.view import IGNORED, View

SIZE = Size(4, 6)
MAPS = NetworkEnd([TensorSpec("logits", ("n", 3, 4, 6), "float32", "NCHW")], SIZE)


def logits(*masks):
    return [
        Output("logits", np.stack([np.arange(3)[:, None, None] == np.asarray(mask) for mask in masks]) * 1.0)
    ]


LEFT = np.tile([0, 0, 0, 1, 1, 2], (4, 1))


def test_regions_are_said_as_large_as_the_picture():
    task = task_of(None, MAPS)
    view = View(Size(4, 3), SIZE, (1.0, 1.0), (2.0, 0.0))
    (answer,) = task.answers(logits(LEFT), lambda count: ("sky", "sea", "sand")[:count], None, [view])
    assert answer.mask.tolist() == [[0, 1, 1]] * 4
    assert task.lines(answer) == [" 66.7%  sea (1)", " 33.3%  sky (0)"]
    assert task.to_json(answer)["regions"][0] == {"index": 1, "label": "sea", "share": pytest.approx(2 / 3)}
    # Of a picture that was cut, what nobody saw is of no class.
    cut = View(Size(4, 10), SIZE, (1.0, 1.0), (-2.0, 0.0))
    (answer,) = task.answers(logits(LEFT), lambda count: (), None, [cut])
    assert (answer.mask[:, :2] == IGNORED).all() and (answer.mask[:, 8:] == IGNORED).all()
    assert answer.mask[0, 2:8].tolist() == LEFT[0].tolist()


def test_what_is_kept_is_the_class_of_pixels():
    task, other = task_of(None, MAPS), LEFT.copy()
    other[:, 5] = 1
    kept = task.kept(logits(LEFT), logits(other))
    assert (kept.share, kept.count, kept.of) == (pytest.approx(5 / 6), 24, "pixels")
    assert task.kept(logits(LEFT * 0), logits(other)).share is None
    with pytest.raises(ParityError, match="gives all pixels of 1 images one class"):
        task.demand_decisions(logits(LEFT * 0))


def test_mean_iou_is_that_of_the_definition():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, (5, 4, 6)).astype(np.uint8)
    labels[0, 0] = IGNORED
    masks = generator.integers(0, 3, (5, 4, 6))
    metric = task_of(None, MAPS).metric
    said = labels != IGNORED
    expected = [
        np.sum(said & (labels == k) & (masks == k)) / np.sum(said & ((labels == k) | (masks == k)))
        for k in range(3)
    ]
    parts = [metric.part(logits(*masks[:2]), list(labels[:2]), None)]
    parts.append(metric.part(logits(*masks[2:]), list(labels[2:]), None))
    assert metric.figure(parts) == pytest.approx(100 * np.mean(expected))
    details = metric.details(parts, ("a",))
    assert [row["IoU"] for row in details.classes] == pytest.approx(100 * np.array(expected))
    assert [row["name"] for row in details.classes] == ["a", "class 1", "class 2"]
    assert details.figures["pixel accuracy"] == pytest.approx(100 * np.mean((labels == masks)[said]))


def test_a_class_that_is_nowhere_does_not_count_and_what_is_not_seen_is_wrong():
    label = np.uint8([[0, 0, 4, 4]])
    counts = summed([counted(np.uint8([[0, 4, 4, IGNORED]]), label), counted(label, label)])
    shares = of_classes(counts)
    assert np.isnan(shares[1:4]).all() and shares[[0, 4]].tolist() == [3 / 4, 3 / 5]
    metric = task_of(None, MAPS).metric
    assert metric.figure([counted(label, np.full_like(label, IGNORED))]) == 0


def test_a_mask_of_another_size_is_named():
    with pytest.raises(DataError, match="a mask of 2 x 2 pixels labels an image of 1 x 4"):
        counted(np.zeros((1, 4), np.uint8), np.zeros((2, 2), np.uint8))
