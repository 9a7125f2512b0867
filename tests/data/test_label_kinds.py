"""Labels of every task are taken, joined, split and renumbered alike, and the wrong kind is refused."""

import numpy as np
import pytest
from PIL import Image

from edgecnn.data import trained_on
from edgecnn.data.dataset import DataSet, Examples, demand_task
from edgecnn.data.folder import of_dataset
from edgecnn.data.label_kinds import LABEL_KINDS
from edgecnn.data.mask_files import MaskFiles
from edgecnn.data.sequences import Joined
from edgecnn.data.split import Split, complete
from edgecnn.errors import DataError
from edgecnn.tasks.boxes import Boxes


def boxes(*classes: int) -> Boxes:
    return Boxes(np.tile(np.float32([1, 2, 3, 4]), (len(classes), 1)), np.array(classes, np.int64))


def examples(labels, task: str) -> Examples:
    return Examples(np.zeros((len(labels), 4, 4), np.uint8), labels, task)


@pytest.fixture
def detection() -> DataSet:
    part = examples([boxes(0, 1), boxes(), boxes(1)], "detection")
    return DataSet("streets/", ("car", "dog"), 1, part, part, part, "0")


def test_boxes_are_taken_joined_and_renumbered_without_opening_them():
    part = examples([boxes(0, 1), boxes(), boxes(1)], "detection")
    taken = part.take(np.array([2, 0]))
    assert [len(label) for label in taken.labels] == [1, 2] and taken.task == "detection"
    joined = part.kind.join([part.labels, taken.labels])
    assert isinstance(joined, Joined) and len(joined) == 5 and joined[4].classes.tolist() == [0, 1]
    swapped = part.kind.renumbered(part.labels, [7, 3])
    assert swapped[0].classes.tolist() == [7, 3] and not len(swapped[1])
    assert part.kind.counts(part.labels, 3).tolist() == [1, 2, 0]


def test_masks_are_opened_when_they_are_needed(tmp_path):
    Image.fromarray(np.uint8([[0, 1], [255, 1]])).save(tmp_path / "0.png")
    masks = MaskFiles([tmp_path / "0.png", tmp_path / "missing.png"], 2)
    part = examples(masks, "segmentation").take(np.array([1, 0]))
    assert part.labels[1].tolist() == [[0, 1], [255, 1]] and part.labels[1].dtype == np.uint8
    assert part.kind.renumbered(part.labels, [5, 6])[1].tolist() == [[5, 6], [255, 6]]
    assert part.kind.counts(part.labels, 3).tolist() == [1, 1, 0]
    with pytest.raises(DataError, match=r"missing\.png is not there"):
        part.labels[0]


def test_a_rare_class_reaches_every_part_of_a_split():
    labels = [boxes(0) for _ in range(60)] + [boxes(0, 1) for _ in range(6)] + [boxes() for _ in range(6)]
    keys = np.random.default_rng(0).random(len(labels))
    parts = complete("x", {"train": examples(labels, "detection")}, keys, Split())
    for part in parts:
        assert part.kind.counts(part.labels, 2)[1] and any(not len(label) for label in part.labels)


@pytest.mark.parametrize(
    "task, labels",
    [("classification", np.zeros(3, np.int64)), ("segmentation", [np.zeros((4, 4), np.uint8)] * 3)],
)
def test_boxes_teach_no_other_task_and_others_no_detector(detection, monkeypatch, task, labels):
    monkeypatch.setattr(trained_on, "open_dataset", lambda *args, **kwargs: detection)
    with pytest.raises(DataError, match=f"streets/ has boxes, for detection; {task} needs") as caught:
        trained_on.open_for([None], "streets/", task=task)
    assert LABEL_KINDS.get(task).what in caught.value.hint and "\n" not in str(caught.value)
    with pytest.raises(DataError, match=f"for {task}; detection needs boxes"):
        demand_task(DataSet("x", ("a",), 1, *[examples(labels, task)] * 3, "0"), "detection")


def test_of_boxes_that_test_the_classes_become_the_networks(detection):
    with pytest.raises(DataError, match="streets/ has boxes"):
        of_dataset(detection, 3, ("dog", "cat", "car"))
    found = of_dataset(detection, 3, ("dog", "cat", "car"), "detection")
    assert found.labels_of([2, 0])[1].classes.tolist() == [2, 0] and found.task == "detection"
