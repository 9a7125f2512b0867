"""What a killed run leaves behind is swept by the next one; what a running one uses is not."""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys

import pytest

from edgecnn import files, leftovers
from edgecnn.errors import OutputError

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


@pytest.fixture
def limited():
    """No file of this process gets larger than 10 kB: what is written is cut off, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_fails_for_want_of_room_says_so(limited):
    with (
        pytest.raises(OutputError, match=r"no room for temporary files in .* \(ulimit -f\)") as caught,
        leftovers.TemporaryFolder() as folder,
    ):
        with contextlib.suppress(OSError), open(f"{folder}/library", "wb") as file:
            file.write(bytes(20_000))
        raise RuntimeError("basic_ios::clear")
    assert "TMPDIR" in caught.value.hint and str(caught.value.__cause__) == "basic_ios::clear"
    assert not os.path.exists(folder)


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the quota")])
def test_a_disk_that_takes_nothing_more_is_the_reason(monkeypatch, number, words):
    def full(*_):
        raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match=words), leftovers.TemporaryFolder():
        monkeypatch.setattr(os, "posix_fallocate", full)
        raise RuntimeError("basic_ios::clear")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_another_failure_stays_what_it_is(error):
    with pytest.raises(error), leftovers.TemporaryFolder():
        raise error


def test_no_place_for_temporary_files_is_one_error(monkeypatch):
    def nowhere():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with pytest.raises(OutputError, match="can be written nowhere: No usable"):
        leftovers.TemporaryFolder()
