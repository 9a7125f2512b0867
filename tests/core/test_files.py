import contextlib
import os
import resource
import signal
import socket
import stat
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


@pytest.fixture
def odd(tmp_path):
    """A folder with a path of each kind that is no file."""
    (tmp_path / "folder.onnx").mkdir()
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "device.onnx").symlink_to("/dev/zero")
    (tmp_path / "circle.onnx").symlink_to("circle.onnx")
    (tmp_path / "dangling.onnx").symlink_to("nowhere")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(os.path.relpath(tmp_path / "socket.onnx"))
    (tmp_path / "locked").mkdir()
    (tmp_path / "file.onnx").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder.onnx", "a folder, not a model file"),
        ("pipe.onnx", "a pipe, not a model file"),
        ("socket.onnx", "a socket, not a model file"),
        ("device.onnx", "a device, not a model file"),
        ("circle.onnx", "a link that leads in a circle"),
        ("dangling.onnx", "a link to what is not there"),
        ("none.onnx", "not there"),
        ("file.onnx/m.onnx", "not there"),
        ("a\0b", "not there"),
        ("n" * 300, "out of reach: the name is too long"),
        ("file.onnx", None),
    ],
)
def test_what_is_no_file_is_called_what_it_is(odd, name, words):
    assert files.unlike_file(odd / name, "a model file") == words


@pytest.mark.skipif(os.geteuid() == 0, reason="every folder is open to the superuser")
def test_a_file_in_a_folder_that_is_closed_is_out_of_reach(odd):
    (odd / "locked").chmod(0)
    assert files.unlike_file(odd / "locked/m.onnx") == "out of reach: permission denied"


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


@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444])
def test_a_file_keeps_its_mode(tmp_path, monkeypatch, unnamed, mode):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(mode)
    seen = []
    fill = files._fill
    monkeypatch.setattr(
        files, "_fill", lambda fd, *more, **how: seen.append(os.fstat(fd)) or fill(fd, *more, **how)
    )
    files.write_atomic(path, b"new")
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(seen[0].st_mode) == mode, "nobody reads it while it is written either"


def test_a_file_keeps_its_owner(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root may give a file away")
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    os.chown(path, 12345, 54321)
    files.write_atomic(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


@pytest.mark.parametrize("target", ["real.bin", "folder/real.bin", "second"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path, target, there):
    (tmp_path / "folder").mkdir()
    (tmp_path / "second").symlink_to("folder/other.bin")
    path = tmp_path / "a.bin"
    path.symlink_to(target)
    if there:
        path.write_bytes(b"old")
        path.chmod(0o600)
    assert files.check_writable(path) == path and path.exists() == there
    files.write_together({path: b"new", tmp_path / "b.bin": b"other"})
    assert path.is_symlink() and os.readlink(path) == target and path.read_bytes() == b"new"
    assert not there or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("target", "why"),
    [("folder", "it is a folder"), ("a.bin", "leads to itself"), ("nowhere/x", "the folder does not exist")],
)
def test_a_link_to_what_is_no_file_is_refused_and_stays(tmp_path, target, why):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "a.bin"
    path.symlink_to(target)
    for write in (lambda: files.check_writable(path), lambda: files.write_atomic(path, b"new")):
        with pytest.raises(OutputError, match=why):
            write()
    assert path.is_symlink() and sorted(os.listdir(tmp_path)) == ["a.bin", "folder"]


def test_the_other_names_of_a_file_keep_the_old_content(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    os.link(tmp_path / "a.bin", tmp_path / "b.bin")
    files.write_atomic(tmp_path / "a.bin", b"new")
    assert (tmp_path / "b.bin").read_bytes() == b"old"


@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, os.fsdecode(b"mod\xe8le"), "[x]\n"])
def test_a_name_that_the_system_takes_is_written(tmp_path, monkeypatch, unnamed, name):
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE")
    files.write_atomic(files.check_writable(tmp_path / name), b"content")
    assert os.listdir(tmp_path) == [name]


def test_standard_output_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for write in (lambda: files.check_writable("-"), lambda: files.write_atomic("-", b"x")):
        with pytest.raises(OutputError, match="standard output"):
            write()
    assert os.listdir(tmp_path) == []
