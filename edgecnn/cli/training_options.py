"""What the commands that train have in common: options, progress, and how several processes end."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.cli import common
from edgecnn.cli.terminal import console, say

if TYPE_CHECKING:
    from edgecnn.compress.train.run_report import Report
    from edgecnn.zoo.spec import NetworkSpec


@contextlib.contextmanager
def resumable(output: Path) -> Iterator[None]:
    """Let an interrupt inside say how the training that writes `output` goes on."""
    from edgecnn.compress.train.resume_state import state_path

    try:
        yield
    except KeyboardInterrupt as interrupt:
        state = state_path(output)
        how = f"the same command with --resume goes on from {state}"
        if not state.exists():
            how = "nothing was saved yet; a state is written after every epoch and every minute"
        raise KeyboardInterrupt(how) from interrupt


def print_next(path: Path, network: NetworkSpec, data: str | None, target: str | None = None) -> None:
    """Say how a trained network becomes an int8 file: calibrated with the images that trained it."""
    words = ["export", str(path), "--int8"]
    words += ["--code", network.named_code] if network.named_code else []
    words += ["--target", target] if target else []
    words += ["--data", data] if data else []
    common.print_next(*words)


def is_main_process() -> bool:
    """Return whether this is the process of a distributed run that speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def alone(command: str) -> None:
    """Raise InvalidValueError in one of several processes: they would all write the same files."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from edgecnn.errors import InvalidValueError

        raise InvalidValueError(
            f"edgecnn {command} runs in one process",
            hint="torchrun is for train, without --qat, and for distill",
        )


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """Let only the main process of a distributed run tell what they all find wrong with the request.

    What one process may meet alone, an image of its share or a fault of the machine, each tells itself.
    """
    from edgecnn.errors import DataError, EdgecnnError

    try:
        yield
    except EdgecnnError as error:
        if is_main_process() or isinstance(error, DataError):
            raise
        raise SystemExit(error.exit_code) from None


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Report], None]]:
    """Yield a function that shows where a run stands: a bar on a terminal, else a line for each epoch.

    What anybody's code prints meanwhile goes to standard error too.
    """
    with contextlib.redirect_stdout(sys.stderr), _shown() as show:
        yield show


@contextlib.contextmanager
def _shown() -> Iterator[Callable[[Report], None]]:
    from rich.progress import BarColumn, Progress, TextColumn

    screen = console(err=True)
    if not is_main_process():
        yield lambda report: None
        return
    if not screen.is_terminal:
        yield lambda report: say(_line(report), err=True) if report.row else None
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        console=screen,
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=None, rate="")

        def show(report: Report) -> None:
            speed = f"{report.images_per_second:,.0f} images/s"
            rate = f"loss {report.loss:.3f}  {speed}  {_time(report.seconds_left)} left"
            bar.update(task, description=report.stage, completed=report.done, total=report.total, rate=rate)
            if report.row:
                bar.console.print(_line(report), highlight=False, markup=False)

        yield show


def _line(report: Report) -> str:
    row = report.row or {}
    from edgecnn.compress.train.log import figure, shown

    found = figure(row)
    name, value = shown(*found) if found else ("", "")
    measured = f"  {name} {value:>7}" if found else ""
    return (
        f"epoch {row['epoch']:3d}  {report.stage}  loss {row['loss']:.4f}{measured}"
        f"  {report.images_per_second:,.0f} images/s  {_time(report.seconds_left)} left"
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
