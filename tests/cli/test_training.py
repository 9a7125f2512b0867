"""What the processes of a distributed run tell when they fail, and which command comes next."""

import shlex

import pytest

from edgecnn.cli import common
from edgecnn.cli.training_options import failing_together
from edgecnn.errors import DataError, InvalidValueError


def failing(error: Exception) -> None:
    with failing_together():
        raise error


@pytest.mark.parametrize("error", [DataError("an image"), RuntimeError("no memory")])
def test_what_one_process_may_meet_alone_it_tells(monkeypatch, error):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(type(error)):
        failing(error)


def test_what_all_find_wrong_only_the_main_process_tells(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as caught:
        failing(InvalidValueError("a batch"))
    assert caught.value.code == 1
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InvalidValueError):
        failing(InvalidValueError("a batch"))


@pytest.mark.parametrize("name", ["m.onnx", "my model.onnx", "it's.onnx", "$HOME.onnx", "a;b.onnx"])
def test_the_next_command_can_be_typed_as_it_stands(capsys, name):
    common.print_next("profile", name)
    said = capsys.readouterr().out
    assert shlex.split(said.removeprefix("next: ")) == ["edgecnn", "profile", name]
