"""Stages: names, seconds, and the peak of memory that belongs to each."""

import mmap
import sys
import time

import pytest

from edgecnn.progress import TimeLeft, duration, stage_of
from edgecnn.stages import Stages, to_json


def test_steps_of_one_name_are_one_stage_wherever_they_come():
    told = []
    with Stages(told.append) as stages:
        for step in ("a", "b (about 3 s)", "b (about 3 s): layer 1 of 2", "a: check"):
            stages(step)
            time.sleep(0.01)
    assert told == ["a", "b (about 3 s)", "b (about 3 s): layer 1 of 2", "a: check"]
    assert list(stages.taken) == ["a", "b"]
    assert all(stage.seconds >= 0.02 for stage in stages.taken.values())
    assert set(to_json(stages.taken)["a"]) <= {"seconds", "peak_bytes"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process holds")
def test_memory_counts_where_it_was_held():
    with Stages() as stages:
        stages("before")
        stages("much")
        # Mapped: what an array leaves may stay with a process that keeps freed memory.
        with mmap.mmap(-1, 50 << 20) as held:
            held.write(b"1" * len(held))
            time.sleep(0.1)
        stages("after")
        time.sleep(0.05)
    peaks = [stages.taken[name].peak_bytes for name in ("before", "much", "after")]
    assert peaks[1] - peaks[0] > 40 << 20 and peaks[1] - peaks[2] > 40 << 20


def test_a_stage_that_fails_is_counted_and_nothing_goes_on_watching():
    with pytest.raises(ZeroDivisionError), Stages() as stages:
        stages("division")
        1 / 0  # noqa: B018
    assert "division" in stages.taken


def test_time_left_follows_the_rate_so_far(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    left = TimeLeft(expected=40)
    assert left(0.0) == ", 40 s left"
    now[0] += 1
    assert left(0.5) == ", 20 s left"
    now[0] += 29
    assert left(0.25) == ", 90 s left"
    assert TimeLeft()(0.5) == ""


def test_durations_and_names():
    assert [duration(seconds) for seconds in (0.2, 99, 180, 7200)] == ["1 s", "99 s", "3 min", "2 h"]
    assert stage_of("repair (about 40 s): layer 3 of 9, 30 s left") == "repair"
