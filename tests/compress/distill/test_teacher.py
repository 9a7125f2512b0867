"""A teacher of somebody else does not say how its images are prepared: that is asked, not guessed quietly."""

import onnx
import pytest
from foreign_preparation import TAKES, foreign
from program import SMALL
from program import run_here as run

from edgecnn.artifact import read_manifest
from edgecnn.compress.distill.distill_network import FromTeacher
from edgecnn.compress.distill.distill_request import DistillOptions
from edgecnn.compress.distill.teacher import open_teacher
from edgecnn.errors import InvalidValueError
from edgecnn.runtime.named_preparations import NAMED_PREPARATIONS
from edgecnn.runtime.preprocessing import Preprocessing

NOTE = "note: the file does not say how its images are prepared"


@pytest.fixture(scope="module")
def network(exported):
    return exported(*SMALL)


def distill(teacher, folder, *more):
    out = str(folder / "s.safetensors")
    return run("distill", "lenet5", "--data", "digits", "--teacher", teacher, "-o", out, *more)


@pytest.mark.parametrize("takes", TAKES)
def test_what_is_assumed_is_said_before_the_work_and_pixels_of_0_to_255_are_stopped(network, tmp_path, takes):
    done = distill(foreign(network, tmp_path / "m.onnx", takes), tmp_path)
    first, *_, line, hint = done.stderr.splitlines()
    assert first.startswith(NOTE) and "--teacher-mean and --teacher-std" in first
    # One that is not stopped is found to have other classes.
    assert done.returncode == 1
    assert ("seems to take pixels of 0..255" if takes == "0..255" else "knows 1000 classes") in line
    assert takes != "0..255" or hint.startswith("hint: --teacher-mean 0,0,0 --teacher-std 0.0039")


def test_a_preparation_that_is_said_is_taken(network, tmp_path):
    teacher, said = foreign(network, tmp_path / "m.onnx", "0..255"), ("0,0,0", "0.0039,0.0039,0.0039")
    done = distill(teacher, tmp_path, "--teacher-mean", said[0], "--teacher-std", said[1])
    assert NOTE not in done.stderr and "knows 1000 classes" in done.stderr
    goal = FromTeacher(DistillOptions(teacher, teacher_mean=(0.0,) * 3, teacher_std=(0.0039,) * 3))
    assert goal.opened.preprocessing.std == (0.0039,) * 3 and goal.opened.preprocessing.size == (64, 64)
    assert goal.to_json()["teacher_mean"] == (0, 0, 0)
    assert "teacher_mean" not in FromTeacher(DistillOptions(str(network))).to_json()
    with pytest.raises(InvalidValueError, match="takes 3 channels"):
        open_teacher(teacher, preprocessing=Preprocessing.said((0.5,), (0.5,)))


def test_a_teacher_that_says_it_is_asked_nothing(network, tmp_path):
    assert NOTE not in distill(str(network), tmp_path).stderr
    known = Preprocessing.from_json(read_manifest(network).preprocessing)
    assert open_teacher(str(network)).preprocessing == known
    with pytest.raises(InvalidValueError, match="says itself"):
        DistillOptions("resnet18", teacher_mean=(0.0,) * 3)


def test_a_described_file_says_all_of_it(network, tmp_path):
    teacher = foreign(network, tmp_path / "m.onnx", "0..255")
    model = onnx.load(teacher)
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_param = "any"
    del model.graph.value_info[:]
    onnx.save(model, teacher)
    assert run("describe", teacher, "--prepare", "caffe", "--size", "64").returncode == 0
    opened = open_teacher(teacher)
    assert opened.preprocessing == NAMED_PREPARATIONS["caffe"].at(64) and opened.classes == 1000
    assert opened.points


@pytest.mark.parametrize("std", [(0.5, 0.5), (0, 1, 1), (-1, 1, 1), (float("nan"), 1, 1)])
def test_a_deviation_that_prepares_no_image_is_refused(std):
    with pytest.raises(InvalidValueError, match="prepare no image"):
        DistillOptions("m.onnx", teacher_mean=(0.0,) * 3, teacher_std=std)
