"""A board over OpenSSH, as the user has set it up: one connection, and an agent at its other end."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import os
import queue
import shlex
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from edgecnn.devices import inventory
from edgecnn.devices.inventory import Device
from edgecnn.devices.remote.board import agent, frames, lock
from edgecnn.errors import BoardError
from edgecnn.registry import suggest

#: Reads a program's length and the program from standard input, and runs it.
_LOADER = "import sys; i = sys.stdin.buffer; exec(i.read(int(i.readline())))"
#: Seconds that ssh may take to reach a board, and between its questions whether the other end is there.
_REACHING, _ASKING = 15, 5
#: Seconds without a frame after which an agent hangs: it answers a ping at any time.
_PATIENCE = 60.0
#: What ssh says of a name that may be a misspelt one of the inventory.
_UNKNOWN = "Could not resolve hostname"
#: What ssh says, and what it means.
_FAILURES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is not the one that ssh knows",
        "ssh {} says more",
    ),
    ("Host key verification failed", "ssh does not know its host key", "ssh {} asks whether to trust it"),
    ("Permission denied", "it takes none of your keys", "ssh-copy-id {}"),
    (_UNKNOWN, "nobody knows the name {}", "edgecnn devices add, or a name in ~/.ssh/config"),
    ("Connection refused", "it has no ssh server at that port", "is the port right?"),
    ("timed out", "it does not answer", "is it on, and in this network?"),
    ("No route to host", "no way leads there", "is it on, and in this network?"),
)

#: What runs on the board, in the order in which one needs the other.
_MODULES = (frames, lock, agent)
#: Makes modules of their sources: an import finds them, as it does whatever was imported before.
_MAKER = """
import sys, types
for name, source in {sources!r}:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""

#: Told what a program on the board prints: "stdout" or "stderr", and the bytes.
Output = Callable[[str, bytes], object]


class Connection:
    """A board that answers. Use it as a context manager; raises BoardError, in one line, whatever fails.

    `facts` is what the agent found there: see `agent.facts`.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        # Not a Queue: an interrupt while it waits leaves that one broken.
        self._answers: queue.SimpleQueue[tuple[dict[str, Any], bytes] | None] = queue.SimpleQueue()
        self._writing = threading.Lock()
        self._said: list[str] = []
        self._closing = threading.Event()

    def __enter__(self) -> Connection:
        source = _program()
        remote = f"exec {shlex.quote(self.device.python)} -c {shlex.quote(_LOADER)}"
        command = [
            *shlex.split(os.environ.get("EDGECNN_SSH") or "ssh"),
            "-T",
            *("-o", f"ConnectTimeout={_REACHING}", "-o", f"ServerAliveInterval={_ASKING}"),
            *("--", self.device.address, remote),
        ]
        try:
            self._ssh = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # ^C ends the program on the board first, over this connection.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            )
        except FileNotFoundError as error:
            raise BoardError(f"{command[0]} is not installed", hint="apt install openssh-client") from error
        threading.Thread(target=self._listen, daemon=True).start()
        self._errors = threading.Thread(target=self._listen_to_errors, daemon=True)
        self._errors.start()
        try:
            self._write(b"%d\n" % len(source) + source)
            self.facts, _ = self._answer(ever=True)  # ssh may be asking its user something
        except BaseException:
            self._ssh.terminate()  # nothing runs on the board yet
            self.close()
            raise
        threading.Thread(target=self._speak, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the agent ends what it runs."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._pipe(self._ssh.stdin).close()
        try:
            self._ssh.wait(5)
        except subprocess.TimeoutExpired:
            self._ssh.kill()
            self._ssh.wait()

    def lock(self) -> None:
        """Take the board for this process; raises BoardError while another has it."""
        self.ask("lock", owner=f"{getpass.getuser()}@{socket.gethostname()}")

    def ask(self, do: str, body: bytes = b"", **values: Any) -> dict[str, Any]:
        """Return what the agent answers; raises BoardError if it cannot do it."""
        self._send({"do": do, **values}, body)
        answer, _ = self._answer()
        return answer

    def run(
        self,
        argv: Sequence[str],
        folder: str,
        output: Output,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """Run a program in a folder of the board's, which is locked, and return its exit code.

        An interrupt stops it there before it comes through here; a second one does not wait for that.
        """
        seconds = self.device.max_seconds
        self._send(
            {"do": "run", "argv": list(argv), "folder": folder, "env": dict(env or {}), "seconds": seconds}
        )
        try:
            answer = self._printed(output)
        except KeyboardInterrupt:
            self._send({"do": "stop"})
            self._printed(output)
            raise
        if answer["why"] == "late":
            raise BoardError(
                f"{self.device.name}: stopped after {seconds:g} s",
                hint="max_seconds of the board allows more",
            )
        code = int(answer["exit"])
        if code < 0:
            number = signal.Signals(-code).name
            raise BoardError(
                f"{self.device.name}: the program there was ended by {number}",
                hint="was its memory full?" if number == "SIGKILL" else "edgecnn doctor --on the board",
            )
        return code

    def fetch(self, path: str, size: int, sha256: str) -> bytes:
        """Return a file of the board's, given its size and SHA-256."""
        content = bytearray()
        while len(content) < size:
            self._send({"do": "get", "path": path, "offset": len(content)})
            _, body = self._answer()
            if not body:
                break
            content += body
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BoardError(f"{self.device.name}: {path} arrived damaged", hint="try again")
        return bytes(content)

    def _printed(self, output: Output) -> dict[str, Any]:
        """Pass on what the program prints, and return the frame that says how it ended."""
        while True:
            answer, body = self._answer()
            if "of" not in answer:
                return answer
            output(answer["of"], body)

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        try:
            with self._writing:
                frames.write_frame(self._pipe(self._ssh.stdin), header, body)
        except OSError as error:
            raise self._failure() from error

    def _write(self, content: bytes) -> None:
        stream = self._pipe(self._ssh.stdin)
        try:
            stream.write(content)
            stream.flush()
        except OSError as error:
            raise self._failure() from error

    def _answer(self, *, ever: bool = False) -> tuple[dict[str, Any], bytes]:
        while True:
            try:
                frame = self._answers.get(timeout=None if ever else _PATIENCE)
            except queue.Empty:
                self._ssh.kill()
                raise BoardError(f"{self.device.name} does not answer any more", hint="try again") from None
            if frame is None:
                raise self._failure()
            header, body = frame
            if "refused" in header:
                raise BoardError(f"{self.device.name}: {header['refused']}", hint=header.get("hint"))
            if "pong" not in header:
                return header, body

    def _listen(self) -> None:
        """Take frames in. What comes before the agent's first word is a shell's, and not read."""
        stream = self._pipe(self._ssh.stdout)
        for line in stream:
            if line.endswith(frames.HELLO):
                break
        with contextlib.suppress(ValueError):
            while frame := frames.read_frame(stream):
                self._answers.put(frame)
        self._answers.put(None)

    def _listen_to_errors(self) -> None:
        for line in self._pipe(self._ssh.stderr):
            self._said.append(line.decode(errors="replace").strip())

    def _speak(self) -> None:
        while not self._closing.wait(frames.SILENCE / 5):
            with contextlib.suppress(BoardError):
                self._send({"do": "ping"})

    def _failure(self) -> BoardError:
        """Return what ended the connection, in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(5)
        self._errors.join(1)
        name, address = self.device.name, self.device.address
        said = "\n".join(self._said)
        last = next((line for line in reversed(self._said) if line), "ssh says nothing")
        # The shell's there; ssh's own is 255.
        if self._ssh.returncode in (126, 127):
            return BoardError(
                f"{name} does not run {self.device.python}: {last}",
                hint="apt install python3 there, or edgecnn devices add --python PATH",
            )
        for words, meaning, hint in _FAILURES:
            if words in said:
                known = list(inventory.devices()) if words == _UNKNOWN else []
                hint = suggest(address, known) if known else hint.format(address)
                return BoardError(f"{name} cannot be reached: {meaning.format(address)}", hint=hint)
        return BoardError(f"the connection to {name} broke: {last}", hint="try again")

    @staticmethod
    def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None
        return stream


def _program() -> bytes:
    """Return the agent as one program."""
    sources = [
        (module.__name__, Path(str(module.__file__)).read_text(encoding="utf-8")) for module in _MODULES
    ]
    return _MAKER.format(sources=sources).encode()
