"""An agent at the other end of two pipes, without SSH."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgecnn.devices.remote.board import frames

_PROGRAM = """
import sys
from edgecnn.devices.remote.board import agent, lock
agent.SILENCE, agent.GRACE, lock.EXPIRY = map(float, sys.argv[1:])
agent.main([])
"""


class AgentPipe:
    """`home` is the agent's folder, `.edgecnn`; `silence`, `grace` and `expiry` are seconds.

    Leaving the context closes the agent's input.
    """

    def __init__(self, home: Path, silence: float = 40, grace: float = 20, expiry: float = 80) -> None:
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(silence), str(grace), str(expiry)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "HOME": str(home.parent)},
        )
        assert self.process.stdin and self.process.stdout
        self.input, self.output = self.process.stdin, self.process.stdout
        assert self.output.readline() == frames.HELLO
        self.facts = self.answer()

    def __enter__(self) -> AgentPipe:
        return self

    def __exit__(self, *error: object) -> None:
        self.input.close()
        self.process.wait(30)
        self.output.close()

    def tell(self, do: str, body: bytes = b"", **values: Any) -> None:
        frames.write_frame(self.input, {"do": do, **values}, body)

    def read(self) -> tuple[dict[str, Any], bytes]:
        frame = frames.read_frame(self.output)
        assert frame is not None, "the agent is gone"
        return frame

    def answer(self) -> dict[str, Any]:
        return self.read()[0]

    def ask(self, do: str, body: bytes = b"", **values: Any) -> dict[str, Any]:
        self.tell(do, body, **values)
        return self.answer()

    def start(self, source: str) -> None:
        """Run a Python program."""
        self.tell("run", argv=[sys.executable, "-c", source], folder="jobs", env={}, seconds=60)

    def put(self, content: bytes) -> str:
        """Put a file there, and return its SHA-256."""
        name = hashlib.sha256(content).hexdigest()
        self.ask("have", files={name: len(content)})
        assert self.ask("put", content, parts=[[name, 0, len(content), len(content)]]) == {}
        return name

    def printed(self) -> tuple[bytes, dict[str, Any]]:
        """Return what the program prints until it ends, and how it ended."""
        out = b""
        while True:
            header, body = self.read()
            if "of" not in header:
                return out, header
            out += body
