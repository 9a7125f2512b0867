"""Which task a network is of, and what each answers."""

import numpy as np
import pytest

from edgecnn.artifact import TensorSpec
from edgecnn.errors import ArtifactError, UnknownNameError
from edgecnn.parity import Output
from edgecnn.tasks import TASKS, NetworkEnd, task_of, told_by

SCORES = TensorSpec("y", ("n", 3), "float32", "NC")
POOLED = TensorSpec("y", ("n", 3, 1, 1), "float16", "NCHW")
SCORE = TensorSpec("s", ("n", 1), "float32", "NC")
MAP = TensorSpec("m", ("n", 1, 8, 8), "float32", "NCHW")
INDEX = TensorSpec("i", ("n", 1), "int64", "NC")


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        ([SCORES], "classification"),
        ([POOLED], "classification"),
        ([SCORE], "classification"),
        ([MAP, SCORES], "classification"),
        ([MAP], "tensors"),
        ([INDEX], "tensors"),
        ([MAP, INDEX], "tensors"),
    ],
)
def test_the_shapes_tell_the_task(outputs, name):
    assert told_by(NetworkEnd(outputs)).name == name
    assert task_of(None, NetworkEnd(outputs)).name == name


def test_a_manifest_may_name_it():
    assert task_of("tensors", NetworkEnd([SCORES])).name == "tensors"
    with pytest.raises(UnknownNameError, match="unknown task 'detektion'"):
        task_of("detektion", NetworkEnd([MAP]))


def test_a_classifier_names_the_most_probable_classes_whatever_stands_beside():
    outputs = [Output("m", np.zeros((2, 1, 8, 8))), Output("y", np.float16([[[[0]], [[9]], [[1]]]] * 2))]
    task = TASKS.get("classification")
    first, second = task.answers(outputs, lambda count: [f"c{index}" for index in range(count)], 2)
    assert [item.label for item in first] == ["c1", "c2"] and first == second
    assert task.to_json(first)["classes"][0]["index"] == 1 and "c1 (1)" in task.lines(first)[0]


def test_one_score_is_no_answer_of_a_classifier():
    task = TASKS.get("classification")
    task.demand_answers([SCORES], "m.onnx")
    with pytest.raises(ArtifactError, match="no image classifier: its output is n x 1 float32"):
        task.demand_answers([SCORE], "m.onnx")


def test_other_networks_answer_with_each_images_part_of_every_output():
    task = TASKS.get("tensors")
    outputs = [Output("m", np.arange(8.0).reshape(2, 2, 2)), Output("i", np.array([3, 4]))]
    first, second = task.answers(outputs, None, 5)
    assert first["m"].tolist() == [[0, 1], [2, 3]] and second["i"] == 4
    assert task.to_json(first)["outputs"]["m"] == {
        "shape": [2, 2], "dtype": "float64", "min": 0.0, "mean": 1.5, "max": 3.0
    }  # fmt: skip
    assert task.lines(first)[0] == "m  2 x 2 float64  0 to 3, mean 1.5"


@pytest.mark.parametrize("name", TASKS.names())
def test_every_row_tells_what_it_is(name):
    task = TASKS.get(name)
    assert task.name == name and task.title
    assert task.kind(Output("m", np.zeros((2, 3, 3)))) == "values"
    assert task.deciding([Output("m", np.zeros((2, 3, 3)))]) is None
