"""A metric of the user's: where it is found, what it gets, and what is said of one that fails."""

import numpy as np
import pytest

from edgecnn.errors import InvalidValueError
from edgecnn.parity import Output
from edgecnn.tasks.metric import users

SCORES = Output("y", np.float32([[1, 2], [3, 0]]))
BOXES = Output("boxes", np.zeros((2, 4), np.float32))


def written(folder, text):
    (folder / "metrics.py").write_text(text)
    return f"{folder / 'metrics.py'}:it"


def test_of_one_output_it_gets_the_array_and_the_labels(tmp_path):
    metric = users(written(tmp_path, "def it(outputs, labels): return (outputs.argmax(1) == labels).mean()"))
    assert metric([SCORES], np.array([1, 1])) == 0.5


def test_of_several_outputs_it_gets_them_by_name():
    metric = users(lambda outputs, labels: outputs["boxes"].size + len(labels))
    assert metric([SCORES, BOXES], [0, 0, 0]) == 11


def test_a_function_of_an_installed_module_is_found():
    assert users("numpy:size")([SCORES], None) == 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def it(outputs, labels): return labels.nothing", "fails: AttributeError"),
        ("def it(outputs): return 0", "fails: TypeError"),
        ("def it(outputs, labels): return 'much'", "gives 'much'"),
        ("def it(outputs, labels): return float('nan')", "gives nan"),
        ("it = 3", "has no function 'it'"),
        ("def it(", "cannot be imported: SyntaxError"),
        ("import no_such_module", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_one_that_does_wrong_is_one_clear_error(tmp_path, text, why):
    with pytest.raises(InvalidValueError, match=why) as caught:
        users(written(tmp_path, text))([SCORES], np.zeros(2))
    assert caught.value.hint


@pytest.mark.parametrize("name", ["metrics", "metrics:", ":it", "a.py:not a name", "no_such_file.py:it"])
def test_what_names_no_function_is_refused(name):
    with pytest.raises(InvalidValueError):
        users(name)
