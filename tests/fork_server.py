"""A process that has imported what the program takes longest to import, and forks for each command.

A command is a process of its own, as a user's is: its own memory, folder, environment, output and end. It
only does not import PyTorch and ONNX again. `serve` runs in that process, `ForkServer` in that of the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from typing import NoReturn

import exporter_tables

#: What an export imports, but for ONNX Runtime, which may start a thread: a fork would be without it.
PRELOADED = (
    "numpy",
    "PIL.Image",
    "torch._dynamo",
    "torch.export._trace",
    "torch.onnx._internal.exporter._core",
    "onnx",
    "onnxscript.function_libs.torch_lib.ops",
    "sympy.combinatorics",
)
#: Variables that those do not read when they are imported. A command for which any other one is not what it
#: was for the server is one for a new process.
MAY_DIFFER = (
    *("EDGECNN_", "HF_", "KMP_", "ORT_", "PIP_", "PYTEST_", "XDG_"),
    *("COLUMNS", "HOME", "MPLCONFIGDIR", "NO_COLOR", "PATH", "TERM", "TMPDIR"),
    *("LOCAL_RANK", "MASTER_", "RANK", "TORCHINDUCTOR_", "WORLD_SIZE"),
)


class ForkServer:
    """The tests' end. The server is started by the first command, and ends when the tests do.

    Of the tests a command inherits what `run` is given; limits, mask and signals are those of the server.
    """

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._requests: socket.socket | None = None
        self._start = threading.Lock()

    def unlike(self, environment: dict[str, str]) -> list[str]:
        """Return the variables for which a command might import something else than the server did."""
        names = {*environment, *self._environment}
        return sorted(
            name
            for name in names
            if not name.startswith(MAY_DIFFER) and environment.get(name) != self._environment.get(name)
        )

    def run(
        self, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run the program as `subprocess.run` would, its output as text."""
        with contextlib.ExitStack() as stack:
            output, errors = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(2))
            command = stack.enter_context(
                self.start(arguments, cwd, environment, output.fileno(), errors.fileno())
            )
            try:
                code = command.wait(timeout)
            except TimeoutError:
                command.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
            for file in (output, errors):
                file.seek(0)
            return subprocess.CompletedProcess(arguments, code, output.read(), errors.read())

    def start(
        self, arguments: tuple[str, ...], cwd: Path, environment: dict[str, str], output: int, errors: int
    ) -> Command:
        """Start the program; it prints to these two open files."""
        command = {"arguments": [*map(os.fsdecode, arguments)], "cwd": str(cwd), "environment": environment}
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._connected(), [b"."], [0, output, errors, theirs.fileno()])
        ours.sendall(json.dumps(command).encode() + b"\n")
        return Command(ours)

    def _connected(self) -> socket.socket:
        with self._start:
            if self._requests is None:
                self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with theirs:
                    server = subprocess.Popen(
                        [sys.executable, __file__, str(theirs.fileno())],
                        env=self._environment,
                        pass_fds=[theirs.fileno()],
                        stdin=subprocess.DEVNULL,
                    )
                atexit.register(server.wait)
                atexit.register(self._requests.close)  # before the wait
            return self._requests


class Command:
    """A command that runs. It is to be closed, or left as a context; its process is not ended by that."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._answers = connection, connection.makefile()
        self._process = int(self._answers.readline() or _gone())

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self._process, number)

    def wait(self, timeout: float) -> int:
        """Return the exit code, or raise `TimeoutError`."""
        self._connection.settimeout(timeout)
        return int(self._answers.readline() or _gone())

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._connection.close()


def _gone() -> NoReturn:
    raise AssertionError("the process that forks for commands has ended: see what it printed")


def serve(requests: socket.socket) -> None:
    """Fork for each request until nobody can ask any more; return in a command's process, made ready for it.

    A request is the three standard files and a connection. On this comes the command, a line of JSON, and the
    answer: the process, and when it has ended its exit code, a line each.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    _warm_exporter()
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads: no command would have the others"
    gc.collect()
    gc.freeze()  # a collection in a command would copy these pages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _reap)
    while True:
        message, files, _, _ = socket.recv_fds(requests, 1, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _attend(socket.socket(fileno=files.pop()), files)
        for file in files:
            os.close(file)


def _warm_exporter() -> None:
    """Let PyTorch's exporter fill its tables of operators, which takes half of a small network's export."""
    torch, bars = importlib.import_module("torch"), importlib.import_module("tqdm").tqdm
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.ReLU(), torch.nn.Flatten()).eval()
    interval, bars.monitor_interval = bars.monitor_interval, 0  # no thread that watches bars
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            torch.onnx.export(
                network, (torch.zeros(2, 1, 2, 2),), dynamo=True, verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )  # fmt: skip
            exporter_tables.keep()
    bars.monitor_interval = interval


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _attend(client: socket.socket, files: list[int]) -> None:
    """Fork once more, say how that process ends; return in it."""
    with client, client.makefile() as lines:
        command = json.loads(lines.readline())
        if process := os.fork():
            client.sendall(f"{process}\n".encode())
            status = os.waitpid(process, 0)[1]
            client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    os.chdir(command["cwd"])
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.argv = ["edgecnn", *command["arguments"]]
    sys.path[0] = command["cwd"]
    importlib.import_module("numpy").random.seed()


def _leave(code: list[int]) -> None:
    """End at once, all else that `atexit` calls being done: it takes long to take PyTorch apart."""
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code[0])


if __name__ == "__main__":
    code: list[int] = []
    atexit.register(_leave, code)  # the first that is registered is the last that runs
    serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        runpy.run_module("edgecnn", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int):
            code.append(end.code)
        raise
