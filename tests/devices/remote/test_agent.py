"""What runs on a board, through pipes."""

import ast
import hashlib
import os
import signal
import time
from pathlib import Path

import pytest
from agent_pipe import AgentPipe

from edgecnn.devices.remote import board

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def agent(tmp_path):
    with AgentPipe(tmp_path / ".edgecnn") as found:
        found.ask("lock", owner="me@desk")
        yield found


def name_of(content):
    return hashlib.sha256(content).hexdigest()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid, seconds=60.0):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


@pytest.mark.parametrize("path", sorted(Path(board.__file__).parent.glob("*.py")), ids=lambda path: path.name)
def test_a_board_with_python_3_6_can_read_it(path):
    ast.parse(path.read_text(), feature_version=(3, 6))


def test_looking_at_a_board_writes_nothing_there(tmp_path):
    with AgentPipe(tmp_path / ".edgecnn") as agent:
        assert agent.facts["free"] > 0
    assert not (tmp_path / ".edgecnn").exists()


def test_a_file_put_in_parts_is_whole(agent):
    name = name_of(CONTENT)
    assert agent.ask("have", files={name: len(CONTENT)}) == {"missing": {name: 0}}
    for start in range(0, len(CONTENT), 4000):
        part = CONTENT[start : start + 4000]
        agent.ask("put", part, parts=[[name, start, len(part), len(CONTENT)]])
    assert (agent.home / "files" / name).read_bytes() == CONTENT
    assert agent.ask("have", files={name: len(CONTENT)}) == {"missing": {}}


def test_an_empty_file_is_put(agent):
    name = agent.put(b"")
    assert (agent.home / "files" / name).read_bytes() == b""


def test_a_file_that_was_cut_off_goes_on_where_it_was(agent, tmp_path):
    name = name_of(CONTENT)
    agent.ask("have", files={name: len(CONTENT)})
    agent.ask("put", CONTENT[:4000], parts=[[name, 0, 4000, len(CONTENT)]])
    agent.process.kill()
    agent.process.wait()
    with AgentPipe(agent.home) as later:
        later.ask("lock", owner="me@desk")
        assert later.ask("have", files={name: len(CONTENT)}) == {"missing": {name: 4000}}
        later.ask("put", CONTENT[4000:], parts=[[name, 4000, len(CONTENT) - 4000, len(CONTENT)]])
    assert (agent.home / "files" / name).read_bytes() == CONTENT


def test_a_file_that_arrives_damaged_is_refused_and_begun_anew(agent):
    name = name_of(CONTENT)
    agent.ask("have", files={name: len(CONTENT)})
    damaged = CONTENT[:-1] + b"?"
    answer = agent.ask("put", damaged, parts=[[name, 0, len(CONTENT), len(CONTENT)]])
    assert answer == {"refused": "a file arrived damaged", "hint": "try again"}
    assert agent.ask("have", files={name: len(CONTENT)}) == {"missing": {name: 0}}


def test_what_was_used_longest_ago_makes_room(agent):
    first, second, third = (agent.put(bytes([number]) * 1000) for number in range(3))
    for age, name in enumerate((second, first, third)):
        os.utime(agent.home / "files" / name, (1000 + age, 1000 + age))
    new = name_of(CONTENT)
    agent.ask("have", files={new: 1500, third: 1000}, limit=3600)
    kept = {path.name for path in (agent.home / "files").iterdir()}
    assert kept == {first, third}, "second was used before first"


def test_what_is_needed_now_is_not_deleted_for_room(agent):
    name = agent.put(CONTENT)
    agent.ask("have", files={name: len(CONTENT), name_of(b"x"): 1}, limit=10)
    assert (agent.home / "files" / name).exists()


def test_half_a_file_that_nobody_sends_on_makes_room_too(agent):
    name = name_of(CONTENT)
    agent.ask("have", files={name: len(CONTENT)})
    agent.ask("put", CONTENT[:4000], parts=[[name, 0, 4000, len(CONTENT)]])
    agent.ask("have", files={name_of(b"x"): 1}, limit=100)
    assert not list((agent.home / "partial").iterdir())


def test_more_than_the_disk_has_is_refused_before_it_is_sent(agent):
    answer = agent.ask("have", files={name_of(b"x"): 1 << 60})
    assert "no room in" in answer["refused"] and answer["hint"] == "free some space there"


def test_what_a_program_made_is_told_apart_from_what_it_was_given(agent):
    agent.ask("link", folder="jobs/command", files={"a/m.onnx": agent.put(CONTENT)}, folders=["a", "b"])
    (agent.home / "jobs/command/b/new").write_bytes(b"new")
    (agent.home / "jobs/command/b/link").symlink_to("new")
    asked = ["a/m.onnx", "b/new", "b/link", "b", "nowhere"]
    found = agent.ask("list", folder="jobs/command", names=asked)["files"]
    assert found == [["b/new", 3, name_of(b"new")]]


def test_files_that_are_named_in_parts_are_all_kept(agent):
    first, second = agent.put(b"1" * 1000), agent.put(b"2" * 1000)
    agent.ask("have", files={first: 1000}, first=True, limit=10)
    agent.ask("have", files={second: 1000}, first=False, limit=10)
    assert (agent.home / "files" / first).exists()


def test_a_given_file_that_was_replaced_comes_back(agent):
    agent.ask("link", folder="jobs/command", files={"cache": agent.put(CONTENT)})
    other = agent.home / "jobs/command/other"
    other.write_bytes(b"new")
    other.replace(agent.home / "jobs/command/cache")
    found = agent.ask("list", folder="jobs/command", names=["cache"])["files"]
    assert found == [["cache", 3, name_of(b"new")]]


def test_a_program_prints_through_and_its_exit_code_comes_back(agent):
    agent.start("import sys; print('out'); sys.exit(3)")
    assert agent.printed() == (b"out\n", {"exit": 3, "why": None})


def test_a_program_that_is_stopped_has_time_to_put_things_back(agent):
    agent.start(
        "import time\ntry:\n    print('begun', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(1)\n    print('put back')"
    )
    assert agent.answer()["of"] == "stdout"
    agent.tell("stop")
    out, end = agent.printed()
    assert end["why"] == "stopped" and out.strip() == b"put back"  # the end of the first line may come late


def test_a_desk_that_leaves_interrupts_the_program_once(agent, tmp_path):
    agent.start(
        "import pathlib, signal, time\ncount = []\n"
        f"signal.signal(2, lambda *_: (count.append(1), pathlib.Path({str(tmp_path / 'count')!r})"
        ".write_text(str(len(count)))))\n"
        "print('begun', flush=True)\nend = time.monotonic() + 10\n"
        "while not count: time.sleep(0.01)\n"
        "time.sleep(1)"
    )
    agent.answer()
    agent.input.close()
    agent.process.wait(60)
    assert (tmp_path / "count").read_text() == "1"


def test_a_stop_that_comes_right_after_the_start_is_heard(agent):
    agent.start("import time; time.sleep(60)")
    agent.tell("stop")
    assert agent.printed()[1]["why"] == "stopped"


def test_an_earlier_stop_does_not_end_the_next_program(agent):
    agent.tell("stop")
    agent.start("print('whole')")
    assert agent.printed() == (b"whole\n", {"exit": 0, "why": None})


@pytest.mark.parametrize("way", ["stop", "close"])
def test_a_program_that_ignores_an_interrupt_is_ended_with_its_children(tmp_path, way):
    with AgentPipe(tmp_path / ".edgecnn", grace=0.3) as agent:
        agent.ask("lock", owner="me@desk")
        agent.start(
            "import signal, subprocess, sys, time\nsignal.signal(2, signal.SIG_IGN)\n"
            "child = subprocess.Popen(['sleep', '60'])\nprint(child.pid, flush=True)\ntime.sleep(60)"
        )
        _, body = agent.read()
        pid = int(body)
        if way == "stop":
            agent.tell("stop")
            assert agent.printed()[1] == {"exit": -signal.SIGKILL, "why": "stopped"}
        else:
            agent.input.close()
        assert gone(pid)


def test_a_program_ends_at_its_limit_of_time(agent):
    agent.tell("run", argv=["sleep", "60"], folder="jobs", env={}, seconds=0.2)
    assert agent.printed()[1]["why"] == "late"


def test_a_desk_that_falls_silent_is_left(tmp_path):
    with AgentPipe(tmp_path / ".edgecnn", silence=0.5) as agent:
        agent.ask("lock", owner="me@desk")
        agent.start("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
        pid = int(agent.read()[1])
        assert gone(pid) and agent.process.wait(60) is not None


def test_a_desk_that_pings_is_not_left(tmp_path):
    with AgentPipe(tmp_path / ".edgecnn", silence=2.5) as agent:
        for _ in range(7):
            time.sleep(0.4)
            assert agent.ask("ping") == {"pong": True}


def test_an_agent_that_is_killed_leaves_no_program(agent):
    agent.start("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    pid = int(agent.read()[1])
    agent.process.kill()
    assert gone(pid)


def test_the_folder_of_jobs_goes_with_the_desk(agent):
    (agent.home / "jobs" / "left").write_text("x")
    agent.input.close()
    agent.process.wait(60)
    assert not (agent.home / "jobs").exists()


def test_what_the_system_refuses_is_one_line(agent):
    answer = agent.ask("get", path="not/there", offset=0)
    assert answer["refused"] == f"{agent.home}/not/there: no such file or directory"
