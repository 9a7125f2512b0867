"""What only Linux offers is used where it is, and done without elsewhere."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_classifier import classifier

import edgecnn
from edgecnn import files, operating_system
from edgecnn.leftovers import TemporaryFolder
from edgecnn.runtime import Preprocessing, load

#: Modules and functions of Python that not every system has.
MODULES = {"fcntl", "resource", "pwd", "grp", "pty", "termios", "tty", "syslog"}
NAMES = """
    sched_getaffinity fork getuid geteuid sysconf uname killpg setsid fchown fchmod pread pwrite getloadavg
    statvfs mkfifo O_TMPFILE O_NONBLOCK O_CLOEXEC O_NOFOLLOW O_DIRECTORY SIGKILL SIGHUP SIGUSR1 SIGALRM
"""


@pytest.fixture
def elsewhere(monkeypatch):
    """A system without what only some have."""
    for module in MODULES:
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("sched_getaffinity", "O_TMPFILE", "O_NONBLOCK", "O_CLOEXEC", "fchown", "fchmod", "getuid"):
        monkeypatch.delattr(os, name)


def at_import(tree: ast.Module):
    """Yield each node that runs when a module is imported."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def test_no_module_needs_at_import_what_only_some_systems_have():
    needed = []
    for file in Path(edgecnn.__path__[0]).rglob("*.py"):
        for node in at_import(ast.parse(file.read_text())):
            names = set()
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names} & MODULES
            elif isinstance(node, ast.ImportFrom):
                names = {node.module} & MODULES
            elif isinstance(node, ast.Attribute):
                names = {node.attr} & set(NAMES.split())
            needed += [f"{file}:{node.lineno} {name}" for name in names]
    assert needed == []


def test_all_cores_are_usable_where_no_process_is_bound(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert operating_system.cores() == [0, 1, 2]


def test_the_cores_are_those_that_the_process_is_bound_to(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5, 2})
    assert operating_system.cores() == [2, 5]


def test_a_lock_is_held_until_the_file_is_closed(tmp_path):
    with open(tmp_path / "lock", "w") as first, open(tmp_path / "lock") as second:
        assert operating_system.lock(first.fileno())
        with pytest.raises(BlockingIOError):
            operating_system.lock(second.fileno(), wait=False)
        first.close()
        assert operating_system.lock(second.fileno(), wait=False)


def test_files_are_whole_and_nothing_is_swept_without_locks(tmp_path, elsewhere):
    (tmp_path / ".edgecnn-abcdefgh").mkdir()
    assert not operating_system.has_locks()
    with TemporaryFolder(tmp_path) as folder:
        Path(folder, "inner").write_bytes(b"x")
        files.write_atomic(tmp_path / "a.bin", b"content")
    assert sorted(os.listdir(tmp_path)) == [".edgecnn-abcdefgh", "a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"content"


def test_an_engine_predicts_without_them(tmp_path, coffee, elsewhere):
    with load(classifier(tmp_path / "m.onnx"), preprocessing=Preprocessing(16)) as engine:
        assert len(engine.predict([coffee, coffee])) == 2


def test_the_program_starts_without_them():
    program = (
        "import os, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(MODULES)}))\n"
        "del os.sched_getaffinity, os.O_TMPFILE, os.fork\n"
        "import edgecnn.cli.commands.profile, edgecnn.measure.latency.profile_engines, edgecnn.compile\n"
        "import edgecnn.devices.remote.job, edgecnn.devices.this_machine\n"
        "from edgecnn.cli import main\n"
        "sys.argv = ['edgecnn', 'targets']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0 and "jetson-orin-nano" in done.stdout, done.stderr


def test_a_folder_that_another_run_swept_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    real, taken = os.open, []

    def swept(path, *arguments, **named):
        if not taken and str(path).startswith(str(tmp_path / ".edgecnn-")):
            taken.append(path)
            os.rmdir(path)
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", swept)
    with TemporaryFolder(tmp_path) as folder:
        assert taken and folder != taken[0] and os.path.isdir(folder)
