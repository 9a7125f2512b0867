"""Standard streams that are closed, full or read by nobody; unusual names of files, and users without a home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_classifier import classifier

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


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-", ">/dev/null 2>&-", ">/dev/null 2>/dev/full"])
def test_a_command_does_its_work_without_standard_streams(closed, here):
    """What a library prints must not get into the file that is written instead."""
    source = "from edgecnn.cli import main; import os, sys; sys.argv[1:] = ['info', 'm.onnx']; main()"
    assert shell(f'{sys.executable} -c "{source}" {closed}', here).returncode == 0


def test_what_is_printed_without_a_standard_output_gets_into_no_file(here):
    source = (
        "import os\nfrom edgecnn import files\nfrom edgecnn.cli.terminal import open_missing\nopen_missing()\n"
        "opened = os.open('x.bin', os.O_WRONLY | os.O_CREAT)\nos.write(1, b'from a library')\n"
        "assert opened > 2"
    )
    (here / "p.py").write_text(source)
    done = shell(f"{sys.executable} p.py <&- >&- 2>&-", here)
    assert done.returncode == 0 and (here / "x.bin").read_bytes() == b""


@pytest.mark.parametrize("words", ["info m.onnx", "info m.onnx --json", "models", "--help", ""])
def test_a_full_standard_output_is_one_error(words, here):
    done = shell(f"$E {words} >/dev/full", here)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: cannot write to standard output: No space left on device",
        "hint: what was written to files is whole",
    ]


def test_a_reader_that_leaves_is_no_error(here):
    done = shell("$E models | true; $E info m.onnx | head -1", here)
    assert done.returncode == 0 and done.stderr == ""
