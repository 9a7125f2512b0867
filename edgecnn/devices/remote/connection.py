"""A board over OpenSSH, as the user has set it up: one connection, and an agent at its other end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import signal
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from edgecnn.backends import BACKENDS
from edgecnn.devices import inventory
from edgecnn.devices.inventory import Device
from edgecnn.devices.remote import answers
from edgecnn.devices.remote.board import agent, facts, frames, lock
from edgecnn.devices.remote.board.frames import FILES, FRAME, Damaged
from edgecnn.devices.remote.channel import Channel, Closed, Frame, Silent
from edgecnn.errors import BoardError
from edgecnn.registry import suggest

#: Reads a program's length and the program from standard input, and runs it.
_LOADER = "import sys; i = sys.stdin.buffer; exec(i.read(int(i.readline())))"
#: Seconds that ssh may take to reach a board, and between its questions whether the other end is there.
_REACHING, _ASKING = 15, 5
#: Seconds to the agent's first word. ssh may be asking its user something: its server waits 120 for that.
_GREETING = 180.0
#: Seconds without a frame after which an agent hangs: it answers a ping at any time.
_PATIENCE = 60.0
#: Seconds for an answer of an agent that is alive: for a digest it reads gigabytes.
_ANSWERING = 600.0
#: Seconds more than a program's limit that its end may take: the agent ends it at its limit.
_ENDING = 60.0
#: Bytes that a program may print.
_PRINTED = 32 << 20
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
_MODULES = (frames, lock, facts, agent)
#: Makes modules of their sources: an import finds them, as it does whatever was imported before.
_MAKER = """
import sys, types
for name, source in {sources!r}:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main({libraries!r})
"""

#: Told what a program on the board prints: "stdout" or "stderr", and the bytes.
Output = Callable[[str, bytes], object]


class Connection:
    """A board that answers. Use it as a context manager; raises BoardError, in one line, whatever fails.

    What a board sends is bounded in size and time, and looked at before it is used: a board that is silent,
    that talks without end, or that is none, ends in such an error. `facts` is what `board.facts` found there.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        self._closing = threading.Event()

    def __enter__(self) -> Connection:
        if not hasattr(os, "fork"):
            raise BoardError("boards are reached from Linux or macOS", hint="use edgecnn in WSL")
        source = _program()
        remote = f"exec {shlex.quote(self.device.python)} -c {shlex.quote(_LOADER)}"
        command = [
            *shlex.split(os.environ.get("EDGECNN_SSH") or "ssh"),
            "-T",
            *("-o", f"ConnectTimeout={_REACHING}", "-o", f"ServerAliveInterval={_ASKING}"),
            *("--", self.device.address, remote),
        ]
        try:
            self._channel = Channel(command)
        except FileNotFoundError as error:
            raise BoardError(f"{command[0]} is not installed", hint="apt install openssh-client") from error
        try:
            with self._translated():
                self._channel.send(b"%d\n" % len(source) + source, _GREETING)
                header, _ = self._frame(_GREETING, _GREETING)
                self.facts = answers.facts(header)
        except BaseException:
            self._channel.kill()  # nothing runs on the board yet
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
        self._channel.close()

    def lock(self) -> None:
        """Take the board for this process; raises BoardError while another has it."""
        self.ask("lock", owner=f"{facts.user()}@{socket.gethostname()}")

    def ask(self, do: str, body: bytes = b"", **values: Any) -> dict[str, Any]:
        """Return what the agent answers, as it comes; raises BoardError if it cannot do it."""
        with self._translated():
            return self._asked(do, body, **values)[0]

    def missing(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Return how many bytes the board has of each file that it has not whole; `sizes` are by SHA-256."""
        found: dict[str, int] = {}
        digests, limit = list(sizes), self.device.max_mb * 1e6
        with self._translated():
            for start in range(0, len(digests), FILES):
                part = {digest: sizes[digest] for digest in digests[start : start + FILES]}
                header, _ = self._asked("have", files=part, first=start == 0, limit=limit)
                found |= answers.missing(header, part)
        return found

    def made(self, folder: str, names: Collection[str], most: int) -> dict[str, tuple[int, str]]:
        """Return size and SHA-256 of the files of `names` in a folder that a program made there.

        Raises BoardError if they are more than `most` bytes together.
        """
        with self._translated():
            header, _ = self._asked("list", folder=folder, names=sorted(names))
            return answers.made(header, names, most)

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
        asked = {"argv": list(argv), "folder": folder, "env": dict(env or {}), "seconds": seconds}
        with self._translated():
            self._send({"do": "run", **asked})
            try:
                code, why = self._printed(output, seconds + _ENDING)
            except KeyboardInterrupt:
                self._send({"do": "stop"})
                self._printed(output, _ENDING)
                raise
        if why == "late":
            raise BoardError(
                f"{self.device.name}: stopped after {seconds:g} s",
                hint="max_seconds of the board allows more",
            )
        if code < 0:
            names = {item.value: item.name for item in signal.Signals}
            number = names.get(-code, f"signal {-code}")
            raise BoardError(
                f"{self.device.name}: the program there was ended by {number}",
                hint="was its memory full?" if number == "SIGKILL" else "edgecnn doctor --on the board",
            )
        return code

    def fetch(self, path: str, size: int, sha256: str, target: BinaryIO) -> None:
        """Write a file of the board's to `target`, given its size and SHA-256."""
        digest, end = hashlib.sha256(), time.monotonic() + self.device.max_seconds
        with self._translated():
            for offset in range(0, size, FRAME):
                if time.monotonic() > end:
                    raise Silent
                _, body = self._asked("get", path=path, offset=offset)
                if len(body) != min(FRAME, size - offset):
                    raise Damaged(f"{len(body)} bytes of a file of {size}, from {offset} on")
                digest.update(body)
                target.write(body)
        if digest.hexdigest() != sha256:
            raise BoardError(f"{self.device.name}: {path} arrived damaged", hint="try again")

    def _printed(self, output: Output, seconds: float) -> tuple[int, str | None]:
        """Pass on what the program prints, and return how it ended, within so many seconds."""
        end, printed = time.monotonic() + seconds, 0
        while True:
            answer, body = self._frame(end - time.monotonic(), _PATIENCE)
            if "of" not in answer:
                return answers.ended(answer)
            if answer["of"] not in ("stdout", "stderr") or not body:
                raise Damaged("output that no program prints")
            printed += len(body)
            if printed > _PRINTED:
                raise Damaged(f"more than {_PRINTED >> 20} MiB of output")
            output(answer["of"], body)

    def _asked(self, do: str, body: bytes = b"", **values: Any) -> Frame:
        self._send({"do": do, **values}, body)
        return self._frame(_ANSWERING, _PATIENCE)

    def _send(self, header: dict[str, Any], body: bytes = b"") -> None:
        self._channel.send(frames.frame(header, body), _PATIENCE)

    def _frame(self, seconds: float, patience: float) -> Frame:
        """Return the next answer within so many seconds, in which no `patience` may pass without a frame."""
        end = time.monotonic() + seconds
        while True:
            header, body = self._channel.receive(min(patience, end - time.monotonic()))
            if "refused" in header:
                said, hint = answers.refusal(header)
                raise BoardError(f"{self.device.name}: {said}", hint=hint)
            if "pong" not in header:
                return header, body
            if time.monotonic() > end:
                raise Silent

    def _speak(self) -> None:
        """Ask whether the agent is there, which it says at any time, also while a program runs."""
        while not self._closing.wait(frames.SILENCE / 5):
            with contextlib.suppress(Silent, Closed):
                self._send({"do": "ping"})

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise BoardError, in the user's words, for what ends a connection."""
        try:
            yield
        except Silent:
            self._channel.kill()
            raise BoardError(
                f"{self.device.name} does not answer any more", hint=f"is it well? ssh {self.device.address}"
            ) from None
        except Damaged as error:
            self._channel.kill()
            raise BoardError(
                f"{self.device.name} answers as no agent of edgecnn does: {error}",
                hint="nothing of it was kept; is it the machine that you mean?",
            ) from error
        except Closed as error:
            raise self._failure() from error

    def _failure(self) -> BoardError:
        """Return what ended the connection, in words."""
        code, said = self._channel.last_words()
        name, address = self.device.name, self.device.address
        last = next((line for line in reversed(said) if line), "ssh says nothing")
        # The shell's there; ssh's own is 255.
        if code in (126, 127):
            return BoardError(
                f"{name} does not run {self.device.python}: {last}",
                hint="apt install python3 there, or edgecnn devices add --python PATH",
            )
        for words, meaning, hint in _FAILURES:
            if words in "\n".join(said):
                known = list(inventory.devices()) if words == _UNKNOWN else []
                hint = suggest(address, known) if known else hint.format(address)
                return BoardError(f"{name} cannot be reached: {meaning.format(address)}", hint=hint)
        return BoardError(f"the connection to {name} broke: {last:.300}", hint="try again")


def _program() -> bytes:
    """Return the agent as one program."""
    sources = [
        (module.__name__, Path(str(module.__file__)).read_text(encoding="utf-8")) for module in _MODULES
    ]
    libraries = [row.library for row in BACKENDS.registered()]
    return _MAKER.format(sources=sources, libraries=libraries).encode()
