"""A board that means ill: what it does ends soon, in one line; nothing is written that nobody asked for."""

import functools
import json
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import bad_board
import pytest
from program import run_here
from small_classifier import classifier

from edgecnn.backends import BACKENDS
from edgecnn.devices.remote import channel, connection, environment, own_wheel
from edgecnn.devices.remote.board.facts import facts
from edgecnn.measure import store

#: Seconds in which a behaviour ends, with limits of a second; and bytes of memory that it may take here.
_SOON, _MUCH = 10.0, 300e6
_HOME = "/home/evil/.edgecnn"


#: The wheel is the same for all: it takes as long as the rest.
own = functools.cache(own_wheel.build)


@pytest.fixture(scope="module")
def evil(tmp_path_factory) -> Path:
    """The folder of a board's files, as `bad_board` reads it."""
    folder = tmp_path_factory.mktemp("evil")
    (folder / "made").mkdir()
    none = dict.fromkeys((row.library for row in BACKENDS), False)
    there = {**facts(folder / "none", []), **none, "home": _HOME, "in_use": None}
    there = json.loads(json.dumps(there))
    there["environments"] = {f"{environment._stem(own(), there)}+ort": True}
    (folder / "facts.json").write_text(json.dumps(there))
    return folder


@pytest.fixture
def desk(evil, tmp_path, monkeypatch) -> Path:
    """The folder where commands run; all limits of time are a second, and that of what is printed is less."""
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (work / "link").symlink_to(tmp_path / "elsewhere")
    classifier(work / "m.onnx")
    # More than a pipe holds: a board that does not read is noticed.
    (work / "m.onnx.data").write_bytes(bytes(1 << 19))
    listed = tmp_path / "devices.toml"
    listed.write_text('[board]\naddress = "board"\nmax_seconds = 0.5\n')
    monkeypatch.setattr(own_wheel, "build", own)
    monkeypatch.setenv("EDGECNN_DEVICES", str(listed))
    monkeypatch.setenv("EDGECNN_RESULTS", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("_GREETING", "_PATIENCE", "_ANSWERING", "_ENDING"):
        monkeypatch.setattr(connection, name, 1.0)
    monkeypatch.setattr(connection, "_PRINTED", 4 << 20)
    monkeypatch.setattr(channel, "_LEAVING", 0.2)
    monkeypatch.chdir(work)
    return work


def meet(monkeypatch, evil: Path, behaviour: str, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run a command on a board that behaves so."""
    ssh = [sys.executable, "-I", "-S", bad_board.__file__, behaviour, str(evil)]
    monkeypatch.setenv("EDGECNN_SSH", shlex.join(ssh))
    return run_here(*words, "--on", "board")


def results(evil: Path, desk: Path) -> None:
    """Let the board have one result, as `profile` keeps it."""
    path = evil / "results.sqlite"
    path.unlink(missing_ok=True)
    values = {"path": f"{_HOME}/jobs/command/m.onnx", "sha256": "0" * 64}
    store.append("profile", values, store=path)
    with sqlite3.connect(path) as opened:
        opened.execute("PRAGMA journal_mode = DELETE")
    opened.close()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def peak() -> int:
    """Return the most memory of this process since `forget`, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def forget() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.parametrize("behaviour", bad_board.BEHAVIOURS)
def test_a_board_that_means_ill_ends_in_one_line(behaviour, evil, desk, tmp_path, monkeypatch):
    results(evil, desk)
    kind, before = bad_board.BEHAVIOURS[behaviour], tree(tmp_path)
    forget()
    memory, begun = peak(), time.monotonic()
    done = meet(monkeypatch, evil, behaviour, kind.words)
    seconds, memory = time.monotonic() - begun, peak() - memory
    assert done.returncode == 1 and done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith(("error:", "note:"))]
    assert re.search(kind.__doc__, line) and line.startswith("error: "), line
    assert len(line) < 500
    assert tree(tmp_path) == before
    assert seconds < _SOON and memory < _MUCH, (seconds, memory)


def test_a_board_that_means_well_is_told_apart(evil, desk, monkeypatch):
    results(evil, desk)
    (evil / "made" / ".results.sqlite").write_bytes((evil / "results.sqlite").read_bytes())
    try:
        done = meet(monkeypatch, evil, "Board", ("profile", "m.onnx", "--json"))
    finally:
        (evil / "made" / ".results.sqlite").unlink()
    assert done.returncode == 0 and json.loads(done.stdout) == {"path": "m.onnx"}, done.stderr
    assert [item.path for item in store.query()] == [str(desk / "m.onnx")]


def test_what_was_asked_for_comes_back_and_is_said(evil, desk, monkeypatch):
    (evil / "made" / "out.ort").write_bytes(b"engine" * 300_000)
    (evil / "made" / "out.ort.json").write_bytes(b"{}")
    try:
        done = meet(monkeypatch, evil, "Board", ("compile", "m.onnx", "--backend", "ort", "-o", "out.ort"))
    finally:
        for path in (evil / "made").iterdir():
            path.unlink()
    assert done.returncode == 0, done.stderr
    assert "wrote here: out.ort, out.ort.json" in done.stderr
    assert Path("out.ort").read_bytes() == b"engine" * 300_000


@pytest.mark.parametrize("output", ["m.onnx", "out.ort"])
def test_an_input_or_a_link_as_an_output_is_refused_before_connecting(output, evil, desk, monkeypatch):
    Path("out.ort").symlink_to("nowhere")
    Path("m.ort").symlink_to("m.onnx")
    done = meet(monkeypatch, evil, "Board", ("compile", "m.onnx", "--backend", "ort", "-o", output))
    assert done.returncode == 1 and "is a link" in done.stderr and "connecting" not in done.stderr


def test_what_a_board_says_steers_no_terminal(evil, desk, monkeypatch):
    done = meet(monkeypatch, evil, "Steers", ("profile", "m.onnx"))
    assert done.returncode == 0, done.stderr
    shown = r"\x1b]0;title\x07\x1b[2J\x1b[1A\x0d\x9b2J[/x]"
    assert done.stdout == f"table {shown}\nend\n"
    assert [line for line in done.stderr.splitlines() if shown in line] == [
        f"{shown} ...",
        shown,
        f"no end {shown}",
    ]
    assert not set(done.stdout + done.stderr) & set("\x1b\x07\r\x9b")
