"""One thread captures a CUDA graph; no other may touch the GPU meanwhile."""

import threading

import numpy as np
import pytest
from program import SMALL

from edgecnn.runtime import load, ort_binding
from edgecnn.runtime.gpu_turns import Turns
from edgecnn.runtime.ort_binding import BoundSession
from edgecnn.runtime.ort_engine import open_session

WAIT = 5


def started(function):
    """A thread that runs a function, and an event that says that it has come through."""
    through = threading.Event()

    def work():
        function()
        through.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return through


def within(context, inside, leave):
    def work():
        with context():
            inside.set()
            leave.wait(WAIT)

    return work


@pytest.mark.parametrize(("first", "second"), [("alone", "shared"), ("shared", "alone"), ("alone", "alone")])
def test_who_is_alone_is_alone(first, second):
    turns, leave = Turns(), threading.Event()
    inside, also = threading.Event(), threading.Event()
    started(within(getattr(turns, first), inside, leave))
    assert inside.wait(WAIT)
    done = started(within(getattr(turns, second), also, leave))
    assert not also.wait(0.05)
    leave.set()
    assert done.wait(WAIT) and also.is_set()


def test_others_share():
    turns, leave = Turns(), threading.Event()
    inside = [threading.Event() for _ in range(3)]
    for event in inside:
        started(within(turns.shared, event, leave))
    assert all(event.wait(WAIT) for event in inside)
    leave.set()


def test_a_thread_that_has_its_turn_does_not_wait_for_one_that_wants_to_be_alone():
    turns, leave, inside = Turns(), threading.Event(), threading.Event()
    with turns.shared():
        waiting = started(within(turns.alone, inside, leave))
        assert not inside.wait(0.05)
        with turns.shared():
            pass
    leave.set()
    assert waiting.wait(WAIT)
    with turns.alone(), turns.shared():  # a session is opened for a shape that is captured
        pass


def test_a_failure_gives_the_turn_back():
    turns = Turns()
    for context in (turns.alone, turns.shared):
        with pytest.raises(ZeroDivisionError), context():
            _ = 1 / 0
    with turns.alone():
        pass


def test_nobody_waits_for_one_that_was_interrupted(monkeypatch):
    turns = Turns()

    def interrupted(until):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(turns._changed, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt), turns.alone():
            pass
    leave = threading.Event()
    leave.set()
    assert started(within(turns.shared, threading.Event(), leave)).wait(WAIT)


def test_a_new_shape_is_captured_alone_and_known_ones_run_beside_others(exported, monkeypatch):
    """In the processor's memory, by sessions as a GPU's would be opened."""
    path, seen = exported(*SMALL), []

    class Watched(Turns):
        def shared(self):
            seen.append("shared")
            return super().shared()

        def alone(self):
            seen.append("alone")
            return super().alone()

    monkeypatch.setattr(ort_binding, "TURNS", Watched())
    with load(path, device="cpu", threads=1) as engine:
        specs = engine.inputs, engine.outputs
        shape = engine.inputs[0].shape[1:]
    open_another = lambda graph: open_session(str(path), threads=1)  # noqa: E731
    bound = BoundSession(open_session(str(path), threads=1), "cpu", *specs, open_another)
    for count in (1, 1, 2, 1):
        bound([np.zeros((count, *shape), np.float32)])
    assert seen == ["alone", "shared", "alone", "shared"]
