"""Programs that say something of a machine, or change it: run without a terminal, never with sudo."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What a program said, and whether it ended well."""

    ok: bool
    output: str

    @property
    def reason(self) -> str:
        """The last line, which is where programs say what is wrong."""
        return (self.output.strip().splitlines() or ["it says nothing"])[-1].strip()


#: Runs a program: its words, and the seconds after which it is stopped.
Run = Callable[[Sequence[str], float], Answer]


def run(command: Sequence[str], seconds: float = 30.0) -> Answer:
    """Return what a program says on both outputs; one that runs longer than `seconds` is stopped.

    It has no input: a question is never answered. nvpmodel, for one, asks whether to reboot.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except FileNotFoundError:
        return Answer(False, f"{command[0]} is not installed")
    except OSError as error:
        return Answer(False, f"{command[0]}: {error.strerror or error}")
    except subprocess.TimeoutExpired as stopped:
        return Answer(False, (stopped.output or b"").decode(errors="replace"))
    return Answer(done.returncode == 0, done.stdout.decode(errors="replace"))
