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

if TYPE_CHECKING:
    from edgecnn.compress.train.fit import Report

F = TypeVar("F", bound=Callable[..., Any])

#: Options of a run that `TrainOptions` does not have.
_OF_REQUEST = ("data", "resume", "log", "plot")


def options(*, epochs: int = 30, data_required: bool = True) -> Callable[[F], F]:
    """Return what adds the options of training, with so many epochs unless the user says otherwise."""
    choices = (
        click.option(
            "--data", required=data_required,
            help="Labelled images: a folder of class folders, digits, mnist, cifar10, hf:OWNER/NAME.",
        ),
        click.option("--epochs", type=int, default=epochs, show_default=True, help="Passes over the images."),
        click.option("--batch", type=int, default=64, show_default=True, help="Images per step, of all processes."),
        click.option("--optimizer", default="adamw", show_default=True, help="adamw or sgd."),
        click.option("--lr", type=float, help="Highest learning rate  [by optimizer, batch and weights]."),
        click.option("--weight-decay", type=float, default=0.05, show_default=True, help="Of weights, not biases."),
        click.option("--warmup", type=float, default=1.0, show_default=True, help="Epochs in which the rate rises."),
        click.option("--freeze", type=int, help="Epochs for a new classifier alone  [a tenth]."),
        click.option(
            "--augmentation", default="light", show_default=True, help="none, digits, light, standard, strong.",
        ),
        click.option("--label-smoothing", type=float, default=0.1, show_default=True, help="0 for none."),
        click.option("--mixup", type=float, default=0.0, show_default=True, help="Strength; 0 for none."),
        click.option("--cutmix", type=float, default=0.0, show_default=True, help="Strength; 0 for none."),
        click.option("--ema", type=float, default=0.0, show_default=True, help="Decay of averaged weights."),
        click.option("--amp", default="no", show_default=True, help="Mixed precision: no, bf16, fp16."),
        click.option("--channels-last/--channels-first", default=True, show_default=True, help="Memory layout."),
        click.option("--clip", type=float, default=1.0, show_default=True, help="Largest norm of the gradient."),
        click.option(
            "--validation", type=float, default=0.1, show_default=True,
            help="Share of the training images that measures each epoch.",
        ),
        click.option("--workers", type=int, help="Threads that decode images  [the machine's cores]."),
        click.option("--resume", is_flag=True, help="Go on where a run for this output was cut off."),
        click.option("--log", type=click.Path(path_type=Path), help="Write each epoch: FILE.csv or FILE.json."),
        click.option("--plot", type=click.Path(path_type=Path), help="Draw loss and accuracy: FILE.png."),
    )  # fmt: skip

    def add(function: F) -> F:
        for option in reversed(choices):
            function = option(function)
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


def is_main_process() -> bool:
    """Return whether this is the process of a distributed run that speaks."""
    return int(os.environ.get("RANK", "0")) == 0


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """Let only the main process of a distributed run tell what went wrong: they all fail alike."""
    try:
        yield
    except Exception:
        if is_main_process():
            raise
        raise SystemExit(1) from None


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Report], None]]:
    """Yield a function that shows where a run stands: a bar on a terminal, else a line for each epoch."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not is_main_process():
        yield lambda report: None
        return
    if not console.is_terminal:
        yield lambda report: click.echo(_line(report), err=True) if report.row else None
        return
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), console=console,
        transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("starting", total=None, rate="")

        def show(report: Report) -> None:
            rate = f"loss {report.loss:.3f}  {report.images_per_second:,.0f} images/s  {_time(report.seconds_left)} left"
            bar.update(task, description=report.stage, completed=report.done, total=report.total, rate=rate)
            if report.row:
                bar.console.print(_line(report), highlight=False)

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
