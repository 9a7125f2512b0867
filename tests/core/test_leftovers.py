"""What a killed run leaves behind is swept by the next one; what a running one uses is not."""

import os
import signal
import subprocess
import sys

import pytest

from edgecnn import files, leftovers

KILLED = """
import os, signal, sys
from pathlib import Path
from edgecnn import files
from edgecnn.leftovers import TemporaryFolder
folder = TemporaryFolder(Path("temporary"))
Path(folder.name, "half").write_bytes(b"half")
if sys.argv[1] == "named":
    del os.O_TMPFILE
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
files.write_atomic("out/a.bin", b"content")
"""


@pytest.fixture(params=["unnamed", "named"])
def killed(tmp_path, request):
    """The folder of a run that was killed where its file lacks only its name."""
    for name in ("temporary", "out"):
        (tmp_path / name).mkdir()
    done = subprocess.run([sys.executable, "-c", KILLED, request.param], cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert len(os.listdir(tmp_path / "temporary")) == len(os.listdir(tmp_path / "out")) == 1
    return tmp_path


def test_the_next_file_that_is_written_there_sweeps_the_half_written_one(killed):
    files.write_atomic(killed / "out" / "b.bin", b"other")
    assert os.listdir(killed / "out") == ["b.bin"]


def test_the_next_temporary_folder_sweeps_the_one_left_behind(killed):
    with leftovers.TemporaryFolder(killed / "temporary") as folder:
        assert os.listdir(killed / "temporary") == [os.path.basename(folder)]
    assert not os.listdir(killed / "temporary")


def test_what_is_in_use_and_what_is_not_ours_stays(tmp_path):
    (tmp_path / "photo.jpg.part").write_bytes(b"a download of somebody")
    (tmp_path / ".edgecnn-results").mkdir()
    with leftovers.TemporaryFolder(tmp_path) as folder, files._unnamed_or_named(tmp_path / "a.bin"):
        before = sorted(os.listdir(tmp_path))
        leftovers.sweep_files(tmp_path)
        leftovers.sweep_folders(tmp_path)
        with leftovers.TemporaryFolder(tmp_path):
            pass
        assert sorted(os.listdir(tmp_path)) == before and os.path.isdir(folder)
    assert sorted(os.listdir(tmp_path)) == [".edgecnn-results", "photo.jpg.part"]


def test_a_named_file_in_use_stays(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    with files._unnamed_or_named(tmp_path / "a.bin"):
        leftovers.sweep_files(tmp_path)
        (name,) = os.listdir(tmp_path)
        assert name.endswith(".part")
    assert not os.listdir(tmp_path)


def test_a_folder_that_was_swept_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    hold, swept = leftovers.hold, []

    def late(descriptor):
        if not swept:
            leftovers.sweep_folders(tmp_path)
            swept.append(True)
        return hold(descriptor)

    monkeypatch.setattr(leftovers, "hold", late)
    with leftovers.TemporaryFolder(tmp_path) as folder:
        assert swept and os.listdir(tmp_path) == [os.path.basename(folder)]
