"""Commands that fork from a process which has imported PyTorch are like those that a new Python runs."""

import os
import subprocess

import pytest
from program import run


@pytest.mark.parametrize(
    "arguments",
    [("models", "resnet", "--json"), ("exprot",), ("export", "mobilnet", "--debug"), ("info", "m.onnx"), ()],
    ids=" ".join,
)
def test_output_and_exit_code_are_those_of_a_new_python(tmp_path, arguments):
    (tmp_path / "m.onnx").write_text("no network")
    forked = run(*arguments, cwd=tmp_path)
    new = run(*arguments, cwd=tmp_path, env={**os.environ, "PYTHONHASHSEED": "0"})
    assert (forked.returncode, forked.stdout) == (new.returncode, new.stdout)
    assert forked.stderr.splitlines()[-1:] == new.stderr.splitlines()[-1:]


def test_variables_and_standard_files_are_those_of_the_caller(tmp_path):
    listed = tmp_path / "devices.toml"
    listed.write_text('[bench]\naddress = "root@bench"\n')
    assert "bench" in run("devices", "list", env={**os.environ, "EDGECNN_DEVICES": str(listed)}).stdout
    assert (
        "bench"
        not in run("devices", "list", env={**os.environ, "EDGECNN_DEVICES": str(tmp_path / "no")}).stdout
    )


def test_a_command_that_takes_too_long_is_ended():
    with pytest.raises(subprocess.TimeoutExpired):
        run("export", "resnet152", "-o", os.devnull, timeout=0.01)


def test_a_variable_that_is_read_at_an_import_takes_a_new_python_and_says_so(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.warns(UserWarning, match="a new Python is started for OMP_NUM_THREADS"):
        assert run("--version").returncode == 0
