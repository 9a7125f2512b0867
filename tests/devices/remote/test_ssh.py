"""What only a real OpenSSH does, and what goes wrong with it."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ssh_board
from agent_pipe import AgentPipe
from program import run, run_here

from edgecnn.devices.inventory import Device
from edgecnn.devices.remote.connection import Connection
from edgecnn.errors import BoardError

#: Takes a minute, and says when it has begun.
_WORKS = "import sys, time\nprint('begun', file=sys.stderr, flush=True)\ntime.sleep(60)\n"


def errors(done):
    return [line for line in done.stderr.splitlines() if line.startswith(("error:", "hint:"))]


def check(address, code=1, **environment):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, str(value))
        done = run_here("devices", "check", address)
    assert done.returncode == code, done.stderr
    return errors(done)


@pytest.fixture
def options(ssh):
    """Return ssh's command with a changed line of its configuration."""

    def change(line):
        return f"{ssh.ssh} -o {shlex.quote(line)}"

    return change


def start(*arguments):
    """Start a command and wait until the program on the board has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "edgecnn", *arguments, "--on", "board"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if line == "begun\n":
            return process
    raise AssertionError(said)


def interrupt(process):
    """Do what a terminal does for ^C: ssh is told as well."""
    os.killpg(process.pid, signal.SIGINT)


def end(process):
    """Return its exit code and the last of its errors."""
    _, said = process.communicate(timeout=60)
    return process.returncode, said.splitlines()


def test_an_alias_of_the_users_configuration_is_an_address(ssh):
    assert check("bench", code=0) == []


def test_an_unknown_host_key_is_not_taken(ssh, options, tmp_path):
    line, hint = check(ssh.address, EDGECNN_SSH=options(f"UserKnownHostsFile={tmp_path}/none"))
    assert line == f"error: {ssh.address} cannot be reached: ssh does not know its host key"
    assert hint == f"hint: ssh {ssh.address} asks whether to trust it"


def test_a_changed_host_key_is_not_taken(ssh, options, tmp_path):
    known = (ssh.folder / "known_hosts").read_text().split()
    other = (ssh.folder / "user_key.pub").read_text().split()
    (tmp_path / "known").write_text(" ".join([known[0], *other[:2]]) + "\n")
    line, _ = check(ssh.address, EDGECNN_SSH=options(f"UserKnownHostsFile={tmp_path}/known"))
    assert line.endswith("its host key is not the one that ssh knows")


def test_a_refused_key_is_said(ssh, options):
    line, hint = check(ssh.address, EDGECNN_SSH=options("PubkeyAuthentication=no"))
    assert line.endswith("it takes none of your keys") and hint == f"hint: ssh-copy-id {ssh.address}"


def test_a_closed_port_is_said(ssh):
    line, _ = check(f"ssh://127.0.0.1:{ssh_board.free_port()}")
    assert line.endswith("it has no ssh server at that port")


def test_a_name_that_nobody_knows_is_said(ssh):
    line, hint = check("boart.invalid")
    assert line.endswith("nobody knows the name boart.invalid") and "board" in hint


def test_without_ssh_the_package_is_named(board):
    line, hint = check("somewhere", EDGECNN_SSH="/nowhere/ssh")
    assert line == "error: /nowhere/ssh is not installed" and hint == "hint: apt install openssh-client"


def test_a_board_without_python_is_said(ssh):
    with pytest.raises(BoardError, match="does not run /no/python3") as caught:
        Connection(Device("b", ssh.address, python="/no/python3")).__enter__()
    assert "--python" in caught.value.hint


def test_a_python_that_may_not_be_run_is_not_taken_for_a_refused_key(ssh, tmp_path):
    (tmp_path / "python3").write_text("")
    with pytest.raises(BoardError, match="does not run"):
        Connection(Device("b", ssh.address, python=str(tmp_path / "python3"))).__enter__()


def test_a_python_that_is_too_old_is_said(board, desk, tmp_path, monkeypatch):
    old = tmp_path / "python3"
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.version_info = (3, 8, 10, 'final', 0)")
    old.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    old.chmod(0o755)
    listed = tmp_path / "devices.toml"
    listed.write_text(f'[board]\naddress = "{board.address}"\npython = "{old}"\n')
    monkeypatch.setenv("EDGECNN_DEVICES", str(listed))
    done = run_here("doctor", "--on", "board")
    assert errors(done)[0] == "error: board has Python 3.8.10; edgecnn needs 3.10 or later (JetPack 6)"
    assert board.quiet(60)


def test_a_noisy_start_up_file_does_no_harm(board, desk, monkeypatch, tmp_path):
    noisy = ssh_board.stand_in(tmp_path, board.home, "printf 'welcome\\n\\nlast login: never'; echo oops >&2")
    monkeypatch.setenv("EDGECNN_SSH", noisy)
    done = run_here("doctor", "--on", "board", "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["machine"]


def test_a_login_banner_does_no_harm(ssh, options, tmp_path):
    # OpenSSH shows a server's banner on standard error.
    noisy = tmp_path / "ssh"
    noisy.write_text(f'#!/bin/sh\necho "authorized users only" >&2\nexec {ssh.ssh} "$@"\n')
    noisy.chmod(0o755)
    assert check(ssh.address, code=0, EDGECNN_SSH=noisy) == []


def test_a_secret_is_neither_on_the_command_line_nor_told_to_the_board(board, program, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    program("import os; print(dict(os.environ))")
    assert "hf_secret" not in run_here("doctor", "--on", "board").stdout


def test_two_desks_do_not_run_at_once(board, program):
    program(_WORKS)
    first = start("doctor")
    try:
        line, hint = errors(run_here("doctor", "--on", "board"))
        assert line.startswith("error: board: it is in use by ") and hint == "hint: try again when it is free"
    finally:
        interrupt(first)
        end(first)


def test_an_interrupt_here_ends_the_program_there_and_frees_the_board(board, program):
    program(_WORKS)
    process = start("doctor")
    interrupt(process)
    code, said = end(process)
    assert code == 130 and board.quiet(60)
    assert not [line for line in said if line.startswith("error: the connection")]
    program("print('free')")
    assert run_here("doctor", "--on", "board").stdout == "free\n"


@pytest.mark.slow  # twenty seconds, until the board's end is noticed there
def test_a_server_that_dies_leaves_nothing_running_there_and_one_line_here(ssh, program):
    program(_WORKS)
    process = start("doctor")
    ssh.cut()
    code, said = end(process)
    assert code == 1 and ssh.quiet(60)
    (line,) = [line for line in said if line.startswith("error:")]
    assert line.startswith("error: the connection to board broke: ")


def test_a_desk_that_is_killed_leaves_nothing_running_there(board, program):
    program(_WORKS)
    process = start("doctor")
    process.kill()
    end(process)
    assert board.quiet(60)


def test_a_command_in_a_process_of_its_own_prints_one_object_and_its_progress_elsewhere(ssh, model):
    done = run("profile", "m.onnx", "--seconds", "0.1", "--on", "board", "--json")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["path"] == "m.onnx" and "measure m.onnx" in done.stderr


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that puts a disk of so many bytes in place of a folder, and gives the folder."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a small disk")
    with contextlib.ExitStack() as mounts:

        def make(size: int) -> Path:
            home = tmp_path / "home"
            home.mkdir()
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", home], capture_output=True
            )
            if done.returncode:
                pytest.skip(f"no small disk: {done.stderr.decode().strip()}")
            mounts.callback(subprocess.run, ["umount", home], check=True)
            return home

        yield make


def test_a_full_disk_there_is_said_and_nothing_is_left(desk, monkeypatch, tmp_path, small_disk):
    home = small_disk(8 << 20)
    monkeypatch.setenv("EDGECNN_SSH", ssh_board.stand_in(tmp_path, home))
    line, hint = errors(run_here("doctor", "--on", "board"))
    assert "no room in" in line and hint == "hint: free some space there"
    assert not list(home.glob(".edgecnn/environment-*"))
    assert run_here("devices", "remove", "somewhere").returncode == 0, "a full board can be cleared"
    assert not list(home.iterdir())


def test_a_disk_that_fills_while_a_file_arrives_is_said(desk, small_disk):
    home = small_disk(1 << 20)
    with AgentPipe(home / ".edgecnn") as agent:
        agent.ask("lock", owner="me")
        agent.ask("have", files={"a" * 64: 1000})
        (home / "other").write_bytes(bytes((1 << 20) - 40_000))
        answer = agent.ask("put", bytes(1 << 19), parts=[["a" * 64, 0, 1 << 19, 1 << 20]])
        assert answer["refused"].endswith("is full") and answer["hint"] == "free some space there"
        assert not list((home / ".edgecnn/partial").iterdir())


@pytest.mark.slow
def test_a_connection_without_a_word_is_given_up(board, program, monkeypatch):
    program("import os, signal; os.kill(os.getppid(), signal.SIGSTOP); import time; time.sleep(60)")
    monkeypatch.setattr("edgecnn.devices.remote.connection._PATIENCE", 1.0)
    begun = time.monotonic()
    line, _ = errors(run_here("doctor", "--on", "board"))
    assert line == "error: board does not answer any more" and time.monotonic() - begun < 20
    while board.own():
        for pid in board.own():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def test_an_interrupt_while_connecting_ends_at_once(board, tmp_path):
    asks = tmp_path / "ssh"
    asks.write_text(f"#!/bin/sh\nkill -INT {os.getpid()}\nexec sleep 300\n")
    asks.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECNN_SSH", str(asks))
        begun = time.monotonic()
        done = run_here("devices", "check", "somewhere")
    assert done.returncode == 130 and time.monotonic() - begun < 60


@pytest.mark.slow
def test_wheels_for_another_processor_are_refused_with_what_pip_says(board, desk):
    with Connection(Device("board", board.address, python=ssh_board.python())) as connection:
        connection.lock()
        connection.facts["machine"] = "s390x"
        from edgecnn.devices.remote import environment

        connection.facts["environments"] = {}
        with pytest.raises(BoardError, match="pip finds no wheels for s390x"):
            environment.prepare(connection)
    assert Path(board.files).exists()
