"""Standard streams that are closed, full or read by nobody; unusual names, and users without a home."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from program import run_here
from small_classifier import classifier

from edgecnn import files
from edgecnn.cli import common, main

EDGECNN = f"{sys.executable} -m edgecnn"


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in which $E is the program."""
    return subprocess.run(
        ["sh", "-c", command.replace("$E", EDGECNN)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def here(tmp_path):
    classifier(tmp_path / "m.onnx")
    return tmp_path


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-", ">/dev/null 2>/dev/full"])
def test_a_command_does_its_work_without_standard_streams(closed, here):
    """What a library prints must not get into the file that is written instead."""
    source = "from edgecnn.cli import main; import os, sys; sys.argv[1:] = ['info', 'm.onnx']; main()"
    assert shell(f'{sys.executable} -c "{source}" {closed}', here).returncode == 0


def test_what_is_printed_without_a_standard_output_gets_into_no_file(here):
    source = (
        "import os\nfrom edgecnn.cli.terminal import open_missing\nopen_missing()\n"
        "opened = os.open('x.bin', os.O_WRONLY | os.O_CREAT)\nos.write(1, b'from a library')\n"
        "assert opened > 2"
    )
    (here / "p.py").write_text(source)
    done = shell(f"{sys.executable} p.py <&- >&- 2>&-", here)
    assert done.returncode == 0 and (here / "x.bin").read_bytes() == b""


@pytest.mark.parametrize("words", ["info m.onnx --json", "models", "--help", ""])
def test_a_full_standard_output_is_one_error(words, here):
    done = shell(f"$E {words} >/dev/full", here)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: cannot write to standard output: No space left on device",
        "hint: what was written to files is whole",
    ]


@pytest.mark.parametrize(
    "words",
    ["models", "models --json", "targets", "info m.onnx", "--help", "info --help",
     "--version", "profile m.onnx --seconds 0.1 --no-store", "devices list",
     "compile m.onnx --backend ort -o m.ort"],
)  # fmt: skip
def test_a_reader_that_leaves_is_no_error(words, here, monkeypatch):
    monkeypatch.setattr("sys.argv", ["edgecnn", *words.split()])
    monkeypatch.chdir(here)
    reading, writing = os.pipe()
    os.close(reading)
    said = io.StringIO()
    with (
        open(writing, "w") as output,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(said),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert end.value.code == 0 and "error" not in said.getvalue()
    assert (here / "m.ort").exists() == ("-o" in words)


def test_no_line_says_that_a_reader_left(here):
    done = shell("{ $E models; echo $? >&2; } | true; { $E info m.onnx; echo $? >&2; } | head -c 1", here)
    assert done.stderr.split() == ["0", "0"]


def test_work_goes_on_whose_bar_nobody_sees(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with open(writing, "w") as errors:
        monkeypatch.setattr("sys.stderr", errors)
        with common.progress(2) as tell:
            tell("one")
            tell("two")
        os.dup2(os.open(os.devnull, os.O_WRONLY), errors.fileno())


@pytest.fixture
def homeless(monkeypatch):
    """A user of a number alone: no HOME, no line in the list of users, no places of their own."""

    def nobody(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOGNAME", "USER", "LNAME",
                 "USERNAME", "EDGECNN_RESULTS", "EDGECNN_DEVICES", "EDGECNN_DATA"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def test_a_user_without_a_home_can_measure(homeless, here):
    assert run_here("info", "m.onnx", cwd=here).returncode == 0
    done = run_here("profile", "m.onnx", "--seconds", "0.1", cwd=here)
    assert done.returncode == 0 and "note: not stored: there is no home folder" in done.stderr
    assert "none yet" in run_here("devices", "list", cwd=here).stdout


@pytest.mark.parametrize(
    "words", ["report", "profile m.onnx --backend ort", "devices add board ssh://u@192.0.2.1 --no-check"]
)
def test_what_needs_a_home_says_which_variable_names_another_place(words, homeless, here):
    done = run_here(*words.split(), cwd=here)
    line, hint = done.stderr.splitlines()[-2:]
    assert done.returncode == 1 and "no home folder" in line and hint.startswith("hint: set ")


def test_a_folder_of_users_that_is_no_path_says_nothing(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert files.cache_folder() == Path("/home/somebody/.cache/edgecnn")


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("XDG_CACHE_HOME", "profile m.onnx --backend ort"),
        ("EDGECNN_DEVICES", "devices add board ssh://u@192.0.2.1 --no-check"),
    ],
)
def test_a_place_that_cannot_be_made_is_one_error(variable, words, here, monkeypatch):
    monkeypatch.setenv(variable, str(here / "m.onnx" / "below"))
    done = run_here(*words.split(), cwd=here)
    assert done.returncode == 1 and "unexpected" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1


def test_what_the_system_refuses_is_one_error(here):
    name = "n" * 300 + ".onnx"
    done = run_here("info", name, cwd=here)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"error: {name} is out of reach: the name is too long"


@pytest.mark.parametrize(
    "command", ["info", "profile --seconds 0.1 --no-store", "compile --backend ort -o x.ort"]
)
def test_a_name_of_many_bytes_is_a_name(command, here):
    name = "n" * 244 + ".onnx"
    os.rename(here / "m.onnx", here / name)
    word, *options = command.split()
    assert run_here(word, name, *options, cwd=here).returncode == 0


@pytest.mark.parametrize(
    "words", ["compile m.onnx --backend ort -o -", "quantize m.onnx -o -", "report -o -"]
)
def test_a_result_does_not_go_to_standard_output(words, here):
    done = run_here(*words.split(), cwd=here)
    assert done.returncode != 0 and len(done.stderr.splitlines()) == 2
    assert [path.name for path in here.iterdir()] == ["m.onnx"]


def test_a_name_that_is_no_text_is_refused_by_what_cannot_open_it(here):
    name = os.fsdecode(b"mod\xe8le.onnx")
    os.rename(here / "m.onnx", here / name)
    assert r"mod\xe8le.onnx" in run_here("info", name, cwd=here).stdout
    done = run_here("profile", name, "--seconds", "0.1", cwd=here)
    line, hint = done.stderr.splitlines()[-2:]
    assert done.returncode == 1 and r"mod\xe8le.onnx" in line and "UTF-8" in line and "rename" in hint


@pytest.mark.parametrize(
    "words", ["compile m.onnx --backend ort -o m.ort", "profile m.onnx --layers --seconds 0.1 --no-store"]
)
def test_no_room_for_temporary_files_is_said_with_their_folder(words, here):
    (here / "temporary").mkdir()
    done = shell(f"ulimit -f 1; $E {words}", here, TMPDIR=str(here / "temporary"))
    line, hint = done.stderr.splitlines()[-2:]
    assert done.returncode == 1 and f"no room for temporary files in {here}/temporary: " in line
    assert "TMPDIR" in hint and not any((here / "temporary").iterdir()) and not (here / "m.ort").exists()
