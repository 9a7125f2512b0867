"""One desk at a time."""

import fcntl
import os
import signal
import threading
import time

import pytest
from agent_pipe import AgentPipe

from edgecnn.devices.remote.board import lock


@pytest.fixture
def home(tmp_path):
    return tmp_path / ".edgecnn"


def test_a_second_desk_is_told_who_has_the_board(home):
    with AgentPipe(home) as first, AgentPipe(home) as second:
        assert first.ask("lock", owner="ann@desk1") == {}
        answer = second.ask("lock", owner="bob@desk2")
        assert answer["refused"].startswith("it is in use by ann@desk1 since ")
        assert answer["hint"] == "try again when it is free"


def test_a_board_says_who_has_it(home):
    with AgentPipe(home) as first:
        assert first.facts["in_use"] is None
        first.ask("lock", owner="ann@desk1")
        with AgentPipe(home) as second:
            assert second.facts["in_use"] == "ann@desk1"
    with AgentPipe(home) as third:
        assert third.facts["in_use"] is None


def test_a_lock_ends_with_an_agent_that_is_killed(home):
    with AgentPipe(home) as first, AgentPipe(home) as second:
        first.ask("lock", owner="ann@desk1")
        first.process.kill()
        first.process.wait()
        assert second.ask("lock", owner="bob@desk2") == {}


def test_a_holder_that_hangs_is_displaced_with_its_program(home):
    with AgentPipe(home, expiry=3) as first, AgentPipe(home) as second:
        first.ask("lock", owner="ann@desk1")
        # What the agent starts is tied to it and ends with it anyhow; this program has been let go.
        first.start(
            "import ctypes, os, time; ctypes.CDLL(None).prctl(1, 0); print(os.getpid(), flush=True);"
            "time.sleep(60)"
        )
        pid = int(first.read()[1])
        os.kill(first.process.pid, signal.SIGSTOP)
        assert "in use" in second.ask("lock", owner="bob@desk2")["refused"], "before it expired"
        end = time.monotonic() + 60
        while second.ask("lock", owner="bob@desk2") != {}:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert first.process.wait(60) == -signal.SIGKILL
        end = time.monotonic() + 60
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
            time.sleep(0.02)
        assert not os.path.exists(f"/proc/{pid}")


def test_a_clock_that_jumps_does_not_end_a_lock(home, monkeypatch):
    with AgentPipe(home) as first:
        first.ask("lock", owner="ann@desk1")
        monkeypatch.setattr(lock.time, "time", lambda: 4e9)
        with pytest.raises(lock.Busy, match="ann@desk1"):
            lock.Lock(home / "lock", "bob@desk2")


def test_whoever_only_asks_does_not_keep_the_board_from_being_taken(home):
    home.mkdir()
    taken = lock.Lock(home / "lock", "ann@desk1")
    os.close(taken.file)
    asking = os.open(home / "lock", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    timer = threading.Timer(0.3, os.close, (asking,))
    timer.start()
    os.close(lock.Lock(home / "lock", "bob@desk2").file)
    timer.join()


def test_a_finished_program_is_no_longer_named_in_the_lock(home):
    with AgentPipe(home) as agent:
        agent.ask("lock", owner="ann@desk1")
        agent.start("pass")
        agent.printed()
        file = os.open(home / "lock", os.O_RDONLY)
        assert lock.read(file)["child"] is None
        os.close(file)
