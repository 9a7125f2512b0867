"""A detector learns from a larger one's raw outputs beside the labels."""

import dataclasses

import pytest
import torch
from labelled_pictures import write_coco
from squares import SIDE, run, task

from edgecnn.compress.distill.objective import Distillation, raw_distance
from edgecnn.compress.prune.prune_file import prune_file
from edgecnn.compress.prune.prune_request import PruneRequest
from edgecnn.compress.qat.qat_request import QatRequest
from edgecnn.compress.qat.train_quantized import train_quantized
from edgecnn.compress.train.train_network import train
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.train_request import TrainRequest
from edgecnn.errors import InvalidValueError
from edgecnn.export import ExportRequest, export
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.spec import NetworkSpec


class Known:
    """A teacher that answers as the network that it holds."""

    def __init__(self, network):
        self.network, self.preprocessing = network.eval(), Preprocessing(SIDE, fit="letterbox")

    def __call__(self, images, features=()):
        with torch.no_grad():
            return self.network.to(images.device)(images), []


def test_raw_outputs_are_compared_in_units_of_the_teachers_spread():
    wanted = {"scores": torch.randn(2, 5, 3) * 10, "boxes": torch.randn(2, 5, 4) + 7}
    assert raw_distance(wanted, wanted, 4.0) == 0
    means = {name: item.mean().expand(item.shape) for name, item in wanted.items()}
    assert abs(raw_distance(means, wanted, 4.0) - 1) < 0.05
    with pytest.raises(InvalidValueError, match="the teacher gives"):
        raw_distance(wanted, {"logits": wanted["scores"]}, 4.0)


def test_a_student_comes_nearer_to_its_teacher():
    teacher, student = Known(task("ssdlite", 1).network), task("ssdlite", 2)
    objective = Distillation(
        student.network, teacher.preprocessing, teacher, temperature=1.0, weight=1.0, feature_weight=0.0,
        answers=raw_distance, labels=student.lesson.head_loss,
    )  # fmt: skip
    rows = run(dataclasses.replace(student, objective=objective, validation=None))
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.slow
def test_from_labels_to_a_pruned_int8_file(tmp_path):
    data = write_coco(tmp_path / "coco", {"train": range(16), "val": range(16, 20), "test": range(20, 26)})
    options = TrainOptions(epochs=1, batch=8)
    spec = NetworkSpec("ssdlite", backbone="mobilenet_v2", alpha=0.1, resolution=SIDE)
    output = tmp_path / "t.safetensors"
    trained = train(TrainRequest(spec, output, data=str(data), options=options))
    assert {"mAP", "mAP50", "loss", "n"} <= trained.manifest.lineage[-1].metrics.keys()
    assert trained.manifest.task == "detection" and trained.manifest.labels == ("cat", "dog")
    again = NetworkSpec(str(trained.path))
    assert (again.classes, again.architecture.backbone) == (2, "mobilenet_v2")
    small = prune_file(
        PruneRequest(
            again, tmp_path / "p.safetensors", data=str(data), target_macs="0.6x", importance="taylor"
        )
    )
    assert small.figure == "mAP" and small.accuracy is not None
    file = export(
        ExportRequest(
            NetworkSpec(str(small.path)), tmp_path / "p.onnx", precision="int8", calib_images=8, force=True
        )
    )
    assert file.manifest.decoder["name"] == "ssd" and len(file.manifest.decoder["grids"]) == 6


def test_a_detector_is_not_trained_in_int8(tmp_path):
    spec = NetworkSpec("ssdlite", backbone="efficientnet_lite0", weights="imagenet", resolution=SIDE)
    with pytest.raises(InvalidValueError, match="is no classifier"):
        train_quantized(QatRequest(spec, tmp_path / "q.onnx", data="squares"))
