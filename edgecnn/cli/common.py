"""What the commands share: `--json`, tables, and progress on standard error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def common(function: F) -> F:
    """Add the options that every command has."""
    function = click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."
    )(function)
    # Read by the program's entry before click sees it; declared here so that --help names it.
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(
        function
    )


def print_json(values: Any) -> None:
    """Print one JSON object on standard output."""
    click.echo(json.dumps(values, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, text: Sequence[int] = (0,)) -> None:
    """Print a table; columns whose index is in `text` are aligned left, the others right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(
            column, justify="left" if index in text else "right", no_wrap=True, overflow="ellipsis"
        )
    for row in rows:
        table.add_row(*(cell.replace("[", r"\[") for cell in row))
    console = Console()
    if not console.is_terminal:
        # A file or a pipe has no width: nothing is cut off.
        console = Console(
            width=console.measure(table, options=console.options.update(max_width=1000)).maximum
        )
    console.print(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print label and value pairs, aligned."""
    width = max((len(label) for label, _ in facts), default=0)
    for label, value in facts:
        click.echo(f"{label:<{width}}  {value}")


@contextlib.contextmanager
def progress(total: int | None) -> Iterator[Callable[[str], None]]:
    """Yield a function that is told each step as it begins, and shows a bar on standard error.

    Where standard error is no terminal, each step is a line.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step: click.echo(f"{step} ...", err=True)
        return
    bar = Progress(
        TextColumn("{task.description:<24}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=total)
        begun = 0

        def show(step: str) -> None:
            nonlocal begun
            bar.update(task, description=step, completed=begun)
            begun += 1

        yield show


def size(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1e3:
        return f"{count} bytes"
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def amount(count: int | None) -> str:
    """Return a large number for people: 4.23 M, 569 M, 4.09 G."""
    if count is None:
        return "-"
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {letter}"
    return str(count)


def decibels(value: float | None) -> str:
    """Return a signal-to-noise ratio for people; None stands for an exact result."""
    return "exact" if value is None else f"{value:.1f} dB"
