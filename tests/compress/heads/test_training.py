"""Detectors and segmenters in the training loop: they learn, are measured, and go on to the same bits."""

import pytest
import torch
from squares import BATCH, run, task

from edgecnn.compress.train.lesson import HeadLesson

#: What is measured on a GPU while training is measured again on the processor, which rounds otherwise.
ROUNDING = 0.01 if torch.cuda.is_available() else 0.0


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
    given = task(name, 5 if name == "retinanet" else 2, num_classes=3 if metric == "mIoU" else 2)
    assert isinstance(given.lesson, HeadLesson)
    rows = run(given)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert metric in rows[0] and 0 <= rows[-1][metric] <= 100
    found = given.lesson.measure(given.network, given.validation)
    assert found.figures[metric] == pytest.approx(rows[-1][metric], rel=ROUNDING) and found.count == BATCH


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
    given = task(name, 60, rate=0.005, alpha=0.125, backbone="resnet18")
    run(given)
    found = given.lesson.measure(given.network, given.validation)
    assert found.details["mAP50"] > 50
