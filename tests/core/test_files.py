import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from edgecnn import files
from edgecnn.errors import OutputError


def test_a_new_file_has_the_content_and_nothing_lies_beside_it(tmp_path):
    files.write_atomic(tmp_path / "a.bin", b"content")
    assert (tmp_path / "a.bin").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_existing_file_is_replaced(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    files.write_atomic(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_new_file_has_the_permissions_that_the_umask_gives(tmp_path):
    files.write_atomic(tmp_path / "a.bin", b"x")
    (tmp_path / "b.bin").write_bytes(b"x")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


def test_without_unnamed_files_a_hidden_one_is_used_and_removed(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    files.write_atomic(tmp_path / "a.bin", b"content")
    assert (tmp_path / "a.bin").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch, unnamed):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    (tmp_path / "a.bin").write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="the disk is full"):
        files.write_atomic(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_write_that_the_system_cuts_off_is_an_error_and_leaves_nothing(tmp_path):
    """The kernel's own limit on a file's size stands in for a disk that fills up half-way."""
    code = (
        "import resource, signal; from edgecnn import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"files.write_atomic({str(tmp_path / 'a.bin')!r}, bytes(1_000_000))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "OutputError" in done.stderr and "larger than is allowed" in done.stderr
    assert os.listdir(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_run_killed_while_it_writes_leaves_nothing(tmp_path):
    code = (
        "import os, time; from edgecnn import files\n"
        "write = os.write\n"
        "def slow(fd, data):\n"
        "    if fd > 2: print('writing', flush=True); time.sleep(60)\n"
        "    return write(fd, data)\n"
        "os.write = slow\n"
        f"files.write_atomic({str(tmp_path / 'a.bin')!r}, bytes(1000))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    time.sleep(0.05)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("place", ["missing/a.bin", "file/a.bin", "folder", "n" * 300])
def test_a_place_that_cannot_be_written_is_refused_before_and_at_writing(tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    if len(place) < 256:
        with pytest.raises(OutputError, match="cannot write"):
            files.check_writable(tmp_path / place)
    with pytest.raises(OutputError, match="cannot write"):
        files.write_atomic(tmp_path / place, b"x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("unnamed", [True, False])
def test_files_that_belong_together_are_replaced_all_or_none(tmp_path, monkeypatch, unnamed):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    new = {tmp_path / "a.bin": b"new a", tmp_path / "b.bin": b"new b"}
    for path in new:
        path.write_bytes(b"old")
    write, written = os.write, []

    def full(descriptor, data):
        written.append(bytes(data))
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    with monkeypatch.context() as patched, pytest.raises(OutputError, match=r"b\.bin: the disk is full"):
        patched.setattr(os, "write", full)
        files.write_together(new)
    assert [path.read_bytes() for path in new] == [b"old", b"old"]
    files.write_together(new)
    assert {path: path.read_bytes() for path in new} == new
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "b.bin"]
