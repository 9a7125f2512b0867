"""Detectors and segmenters in the training loop: they learn, are measured, and go on to the same bits."""

import numpy as np
import pytest
import torch

from edgecnn.compress.train.lesson import HeadLesson, lesson_of
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.training_loop import Stage, Task, fit, make_accelerator
from edgecnn.data.dataset import DataSet, Examples
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.tasks.boxes import Boxes
from edgecnn.zoo.network_outputs import named
from edgecnn.zoo.open_network import open_network
from edgecnn.zoo.spec import NetworkSpec

SIDE, BATCH = 64, 8


class Squares:
    """Batches of grey images with a bright square or a dark one, of class 0 or 1: its box, or its mask."""

    def __init__(self, masks, batches=3):
        self.preprocessing = Preprocessing(SIDE, fit="letterbox")
        self.skipped, self._masks, self._batches = (), masks, batches

    def __len__(self):
        return self._batches

    def epoch(self, index, *, start=0, rank=0, world=1):
        for number in range(start, self._batches):
            yield self._batch(np.random.default_rng([index, number]))

    def _batch(self, rng):
        frames = rng.integers(100, 120, (BATCH, SIDE, SIDE, 3)).astype(np.uint8)
        labels = []
        for frame in frames:
            side, kind = int(rng.integers(16, 40)), int(rng.integers(2))
            left, top = (int(value) for value in rng.integers(0, SIDE - side, 2))
            frame[top : top + side, left : left + side] = 0 if kind else 255
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[top : top + side, left : left + side] = 1 + kind
            box = Boxes([[left, top, left + side, top + side]], [kind])
            labels.append(mask if self._masks else box)
        return frames, labels


def nothing(task):
    empty = Examples([], [], task)
    return DataSet("squares", ("dark", "bright"), 3, empty, empty, empty, "")


def task(name, epochs, state=None, **network):
    spec = NetworkSpec(name, **{"alpha": 0.1, "resolution": SIDE, "num_classes": 2, **network})
    opened = open_network(spec).network
    masks = spec.architecture.task == "segmentation"
    outputs = named(opened(torch.zeros(1, 3, SIDE, SIDE)))
    lesson = lesson_of(spec, opened, outputs, nothing(spec.architecture.task))
    options = TrainOptions(epochs=epochs, batch=BATCH, lr=0.005, label_smoothing=0.0)
    stages = (Stage("train", epochs, 0.005),)
    objective = lesson.objective()
    return Task(
        opened, objective, Squares(masks), Squares(masks, 1), lesson, options, stages, state, {"what": name}
    )


def run(given, stop_after=None):
    seen = []

    def report(state):
        seen.extend([state] * (state.row is not None))
        if stop_after is not None and len(seen) == stop_after:
            raise KeyboardInterrupt

    accelerator = make_accelerator(given.options)
    return fit(given, accelerator, report)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("ssdlite", "mAP"),
        pytest.param("ssd", "mAP", marks=pytest.mark.slow),
        pytest.param("retinanet", "mAP", marks=pytest.mark.slow),
        pytest.param("fcos", "mAP", marks=pytest.mark.slow),
        pytest.param("yolox", "mAP", marks=pytest.mark.slow),
        pytest.param("fcn", "mIoU", marks=pytest.mark.slow),
        pytest.param("deeplabv3", "mIoU", marks=pytest.mark.slow),
        ("lraspp", "mIoU"),
        pytest.param("unet", "mIoU", marks=pytest.mark.slow),
    ],
)
def test_the_loss_falls_and_the_metric_of_the_task_is_measured(name, metric):
    given = task(name, 2, num_classes=3 if metric == "mIoU" else 2)
    assert isinstance(given.lesson, HeadLesson)
    rows = run(given)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert metric in rows[0] and 0 <= rows[-1][metric] <= 100
    found = given.lesson.measure(given.network, given.validation)
    assert found.figures[metric] == rows[-1][metric] and found.count == BATCH


def test_a_detector_that_was_cut_off_ends_at_the_same_bits(tmp_path):
    whole = task("ssdlite", 2)
    run(whole)
    cut = task("ssdlite", 2, tmp_path / "state")
    with pytest.raises(KeyboardInterrupt):
        run(cut, stop_after=1)
    assert (tmp_path / "state").exists()
    again = task("ssdlite", 2, tmp_path / "state")
    rows = run(again)
    assert len(rows) == 2
    for mine, other in zip(
        again.network.state_dict().values(), whole.network.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssd", "yolox"])
def test_it_learns(name):
    """Most squares are found after some hundred steps."""
    given = task(name, 60, alpha=0.125, backbone="resnet18")
    run(given)
    found = given.lesson.measure(given.network, given.validation)
    assert found.details["mAP50"] > 50
