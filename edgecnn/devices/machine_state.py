"""Puts a machine into a known state for a measurement, and back: power mode, clocks, fan.

It changes only what it has the rights to change, never asks for more (no sudo), and says what it left undone.
Sources: NVIDIA Jetson Linux Developer Guide, "Platform Power and Performance" (nvpmodel, jetson_clocks);
nvidia-smi(1); Linux, Documentation/admin-guide/pm/cpufreq.rst.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from edgecnn.errors import UnknownNameError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.measure.sensors import jetson, jetson_tools, linux
from edgecnn.measure.sensors.kernel_files import text
from edgecnn.measure.sensors.tools import Run
from edgecnn.measure.sensors.tools import run as run_tool


@dataclass
class Prepared:
    """What was changed, what could not be and why, and what could not be put back: one line each."""

    done: list[str] = field(default_factory=list)
    could_not: list[str] = field(default_factory=list)
    not_restored: list[str] = field(default_factory=list)


@contextlib.contextmanager
def prepare(
    power_mode: str | None = None, *, root: Path = Path("/"), run: Run = run_tool
) -> Iterator[Prepared]:
    """Bring the machine into a known state, and put everything back at the end, whatever ends it.

    - A Jetson board: `power_mode` by its name in /etc/nvpmodel.conf (None: the present one), clocks pinned
      to the highest of the mode and the fan at full speed (jetson_clocks). A mode that needs a reboot is not
      set.
    - Other machines: the "performance" governor for every core; an NVIDIA GPU (number 0) is kept awake and
      its clock locked to the highest, which it leaves only when it is too hot or at its power limit. Locked
      clocks cannot be read, so at the end they are unlocked.

    An exception, SIGINT and SIGTERM put everything back too; only SIGKILL does not. `root` stands for "/",
    and `run` runs the tools. Raises UnknownNameError if the board has no such mode, or this is no Jetson.
    """
    number = _mode_number(power_mode, root) if power_mode is not None else None
    changes = _Changes(root, run)
    with _ending_on_signals() as ignore_signals:
        try:
            if jetson.is_jetson(root):
                if power_mode is not None and number is not None:
                    changes.set_power_mode(power_mode, number)
                changes.pin_clocks()
            else:
                changes.set_governor()
                changes.lock_gpu()
            yield changes.report
        finally:
            ignore_signals()  # a second Ctrl-C does not cut this short; the tools inherit it
            changes.undo.close()


def _mode_number(name: str, root: Path) -> int:
    if not jetson.is_jetson(root):
        raise UnknownNameError(
            f"there is no power mode {name!r}: this is no Jetson board", hint="leave the mode out"
        )
    modes = jetson.power_modes(root)
    if name not in modes:
        raise UnknownNameError(
            f"this board has no power mode {name!r}", hint=f"it has: {', '.join(modes) or 'no nvpmodel.conf'}"
        )
    return modes[name]


#: Changes something; returns why it could not, or None.
_Change = Callable[[], str | None]


class _Changes:
    """Makes changes, and knows how to undo each."""

    def __init__(self, root: Path, run: Run) -> None:
        self.root, self.run = root, run
        self.report = Prepared()
        self.undo = contextlib.ExitStack()

    def attempt(self, what: str, change: _Change, back: _Change) -> bool:
        """Make a change that `back` undoes at the end, and report it; one that was refused is not undone."""
        tried = [True]

        def put_back() -> None:
            if tried:
                self._put_back(what, back)

        # Registered before it is tried: a signal may come while it is being done.
        self.undo.callback(put_back)
        failure = change()
        if failure is None:
            self.report.done.append(what)
        else:
            tried.clear()
            self.report.could_not.append(f"{what}: {failure}")
        return failure is None

    def _put_back(self, what: str, back: _Change) -> None:
        failure = back()
        if failure is not None:
            self.report.not_restored.append(f"{what}: {failure}")

    def tool(self, *command: str) -> _Change:
        """Return a change that is one run of a tool."""

        def change() -> str | None:
            answer = self.run(command, 60.0)
            return None if answer.ok else answer.reason + _rights()

        return change

    def set_power_mode(self, name: str, number: int) -> None:
        before = jetson.power_mode(self.root, self.run)
        if before is None:
            failure = "the present one is unknown, so it could not be put back"
            self.report.could_not.append(f"power mode {name}: {failure}")
        elif before.number != number:
            self.attempt(
                f"power mode {name}, was {before.name}",
                functools.partial(self._change_mode, number),
                functools.partial(self._change_mode, before.number),
            )

    def _change_mode(self, number: int) -> str | None:
        answer = self.run(["nvpmodel", "-m", str(number)], 60.0)
        after = jetson.power_mode(self.root, self.run)
        if after is not None and after.number == number:
            return None
        if "Reboot required" in answer.output:
            return f"it needs a reboot (sudo nvpmodel -m {number}, and answer yes)"
        return answer.reason + _rights()

    def pin_clocks(self) -> None:
        what = "clocks pinned to the highest of the mode, fan at full speed"
        # jetson_clocks asks before it overwrites a file, so the file must not be there yet.
        kept = Path(self.undo.enter_context(TemporaryFolder())) / "clocks.conf"
        stored = self.run(["jetson_clocks", "--store", str(kept)], 60.0)
        if not kept.exists():
            self.report.could_not.append(f"{what}: {stored.reason}{_rights()}")
            return
        # What was stored is put back even if pinning failed: it may have failed half-way.
        self.undo.callback(self._put_back, what, self.tool("jetson_clocks", "--restore", str(kept)))
        failure = self.tool("jetson_clocks", "--fan")()
        free = jetson_tools.unpinned(self.run(["jetson_clocks", "--show"], 60.0).output)
        if failure is None and free:
            failure = f"{', '.join(free)} can still move"
        if failure is None:
            self.report.done.append(what)
        else:
            self.report.could_not.append(f"{what}: {failure}")

    def set_governor(self) -> None:
        policies = linux.policies(self.root)
        if not policies:
            self.report.could_not.append("governor performance: this kernel shows no cpufreq")
        for folder in policies:
            file, before = folder / "scaling_governor", text(folder / "scaling_governor")
            if before is None or before == "performance":
                continue
            what = f"governor performance for cores {text(folder / 'affected_cpus') or '?'}, was {before}"
            change, back = (
                functools.partial(_write, file, "performance"),
                functools.partial(_write, file, before),
            )
            if not self.attempt(what, change, back):
                break  # the other cores would answer alike

    def lock_gpu(self) -> None:
        smi = ("nvidia-smi", "-i", "0")
        query = "--query-gpu=persistence_mode,clocks.max.sm"
        answer = self.run([*smi, query, "--format=csv,noheader,nounits"], 20.0)
        persistence, _, highest = (word.strip() for word in answer.output.partition(","))
        if not answer.ok or not highest.isdigit():
            if "is not installed" not in answer.output:  # a machine without an NVIDIA GPU lacks nothing
                self.report.could_not.append(f"GPU clock locked: {answer.reason}")
            return
        if persistence == "Disabled":
            self.attempt("GPU kept awake", self.tool(*smi, "-pm", "1"), self.tool(*smi, "-pm", "0"))
        lock, unlock = self.tool(*smi, "-lgc", f"{highest},{highest}"), self.tool(*smi, "-rgc")
        self.attempt(f"GPU clock locked to {highest} MHz", lock, unlock)


def _write(file: Path, value: str) -> str | None:
    """Write into a file of the kernel, which takes a value or refuses it; return why it was not taken."""
    try:
        file.write_text(value)
    except OSError as error:
        return f"{file}: {(error.strerror or str(error)).lower()}{_rights()}"
    return None if text(file) == value else f"{file} does not take it"


def _rights() -> str:
    return "" if os.geteuid() == 0 else " (it needs root)"


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[Callable[[], None]]:
    """Make SIGTERM end the program by an exception, as SIGINT does, so that what was begun is put back.

    Yields a function that makes both be ignored from then on, until the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # only the main thread may set handlers, and only it is interrupted
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def ignore() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, end)
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
