"""What the commands that train have in common: options, progress, and how several processes end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgecnn.cli import common
from edgecnn.cli.terminal import console, say

if TYPE_CHECKING:
    from edgecnn.compress.train.fit import Report

F = TypeVar("F", bound=Callable[..., Any])

#: Options of a run that `TrainOptions` does not have.
_OF_REQUEST = ("data", "resume", "log", "plot")


def options(*, epochs: int = 30, data_required: bool = True) -> Callable[[F], F]:
    """Return what adds the options of training, with so many epochs unless the user says otherwise."""
    sets = "a folder of class folders, digits, mnist, cifar10, hf:OWNER/NAME"
    choices: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("--data", {"required": data_required}, f"Labelled images: {sets}."),
        ("--epochs", {"default": epochs}, "Passes over the images."),
        ("--batch", {"default": 64}, "Images per step, of all processes together."),
        ("--optimizer", {"default": "adamw"}, "Optimizer: adamw or sgd."),
        ("--lr", {"type": float}, "Highest learning rate  [by optimizer, batch and weights]."),
        ("--weight-decay", {"default": 0.05}, "Decay of weights; biases and normalizations are not decayed."),
        ("--warmup", {"default": 1.0}, "Epochs in which the learning rate rises."),
        ("--freeze", {"type": int}, "Epochs in which a new classifier is trained alone  [a tenth]."),
        ("--augmentation", {"default": "light"}, "Augmentation: none, digits, light, standard, strong."),
        ("--label-smoothing", {"default": 0.1}, "Share of the target that is spread over all classes."),
        ("--mixup", {"default": 0.0}, "Strength of mixup; 0 for none."),
        ("--cutmix", {"default": 0.0}, "Strength of CutMix; 0 for none."),
        ("--ema", {"default": 0.0}, "Decay of averaged weights, which are then the result; 0 for none."),
        ("--amp", {"default": "no"}, "Mixed precision: no, bf16, fp16."),
        ("--channels-last/--channels-first", {"default": True}, "Memory layout of images and weights."),
        ("--clip", {"default": 1.0}, "Largest norm of the gradient."),
        ("--validation", {"default": 0.1}, "Share of the training images that measures each epoch."),
        ("--workers", {"type": int}, "Threads that decode images  [the loader's choice]."),
        ("--resume", {"is_flag": True}, "Go on where a run for this output was cut off."),
        (
            "--log",
            {"type": click.Path(path_type=Path)},
            "Log with a row for each epoch: FILE.csv or FILE.json.",
        ),
        ("--plot", {"type": click.Path(path_type=Path)}, "Plot of loss and accuracy: FILE.png, .svg, .pdf."),
    )

    def add(function: F) -> F:
        for name, settings, text in reversed(choices):
            shown = settings.get("default") is not None
            function = click.option(name, **settings, show_default=shown, help=text)(function)
        return function

    return add


def request(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a TrainRequest but for its output, from a command's options."""
    from edgecnn.compress.train.options import TrainOptions

    seed = values["seed"]
    spec = common.spec(name, values)
    rest = {key: values.pop(key) for key in _OF_REQUEST if key in values}
    known = {item.name for item in dataclasses.fields(TrainOptions)}
    chosen = {key: values.pop(key) for key in list(values) if key in known}
    return {**rest, **values, "network": spec, "options": TrainOptions(**chosen, seed=seed)}


@contextlib.contextmanager
def resumable(output: Path) -> Iterator[None]:
    """Let an interrupt inside say how the training that writes `output` goes on."""
    from edgecnn.compress.train.state import state_path

    try:
        yield
    except KeyboardInterrupt as interrupt:
        state = state_path(output)
        how = f"the same command with --resume goes on from {state}"
        if not state.exists():
            how = "nothing was saved yet; a state is written after every epoch and every minute"
        raise KeyboardInterrupt(how) from interrupt


def print_next(path: Path, data: str | None, target: str | None = None) -> None:
    """Say how a trained network becomes an int8 file: calibrated with the images that trained it."""
    words = ["export", str(path), "--int8"]
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
    """Yield a function that shows where a run stands: a bar on a terminal, else a line for each epoch."""
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
    top1 = f"  top-1 {row['top1']:7.2%}" if "top1" in row else ""
    return (
        f"epoch {row['epoch']:3d}  {report.stage}  loss {row['loss']:.4f}{top1}"
        f"  {report.images_per_second:,.0f} images/s  {_time(report.seconds_left)} left"
    )


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
