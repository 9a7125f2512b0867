"""What the commands share: `--json`, tables, and progress on standard error."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from edgecnn.cli.terminal import as_options, console, note, printing, say
from edgecnn.progress import Progress
from edgecnn.untrusted_text import visible

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table


#: What a command returns when a budget or a gate was not met.
EXIT_BUDGET = 3
#: What a command returns that was interrupted, as a shell would say it: 128 + SIGINT.
EXIT_INTERRUPTED = 130

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


def parity_facts(parity: Mapping[str, Any], against: str, images: str = "images") -> list[tuple[str, str]]:
    """Return the lines on how near a file is to its reference, from the figures as JSON.

    Of several outputs each has its line, the worst first. Agreement is said where something is decided.
    """
    outputs = parity.get("outputs") or []
    counted = parity.get("agreement_of", "images")
    together = []
    if parity["top1_agreement"] is not None and (len(outputs) < 2 or counted != "images"):
        of = images if counted == "images" else counted
        share, count = parity["top1_agreement"], parity.get("counted") or parity["images"]
        together = [("agreement", f"{share:.1%} of {count} {of}")]
    if len(outputs) < 2:
        return [("parity", f"{decibels(parity['sqnr_db'])} against {against}"), *together]
    facts = [
        ("parity", f"{decibels(parity['sqnr_db'])} against {against}, the worst of {len(outputs)} outputs")
    ]
    for item in sorted(outputs, key=lambda item: math.inf if item["sqnr_db"] is None else item["sqnr_db"]):
        agreement = item["top1_agreement"]
        share = "" if agreement is None else f", agreement {agreement:.1%} of {parity['images']} {images}"
        facts.append(("", f"{item['name']}: {decibels(item['sqnr_db'])}{share}"))
    return facts + together


def print_floor(quantization: Mapping[str, Any] | None) -> None:
    """Say that int8 is below the floor, by the manifest's record of a quantization, and what to do."""
    record = (quantization or {}).get("floor")
    if not record:
        return
    if record["accepted"]:
        say(f"note: int8 destroys this network: it keeps only {record['keeps']}", fg="yellow")
        return
    say(
        f"int8 DESTROYS this network: it keeps only {record['keeps']}. The file was written all the same,",
        fg="red",
    )
    say("to be looked into, and the exit code is 3. The likeliest causes first:", fg="red")
    for index, cause in enumerate(record["causes"], 1):
        say(f"  {index}. {as_options(cause)}", fg="red")
    say("--force takes it as it is: the same file, and exit code 0", fg="red")


def note_preparation(path: str | Path, options: tuple[str, str] | None = None) -> str:
    """Say before the work, for nothing with another preparation, that a file does not say its own.

    Returns what was said.
    """
    from edgecnn.artifact import read_manifest
    from edgecnn.quantize import assumed_preprocessing as assumed

    manifest = read_manifest(path)
    if manifest is not None and manifest.preprocessing:
        return ""
    said = assumed.note_of(path, options or assumed.MEAN_AND_STD)
    note(said, err=True)
    return said


def percent(share: float | None, digits: int = 0) -> str:
    """Return a share as a percentage; "-" where it is not known."""
    return "-" if share is None else f"{share:.{digits}%}"


def print_attempts(attempts: Sequence[Any], metric: str | None = None) -> None:
    """Print what was tried for an int8 file, and what came of each; drops are of top-1, or of a `metric`."""
    with_drop = any(item["top1_drop"] is not None for item in attempts)
    title, shown = ("drop", "{:.4g}") if metric else ("top-1 drop", "{:.1f} points")
    columns = ["tried", "SQNR", "agreement", *([title] if with_drop else []), "int8 MACs"]
    rows = [
        [
            item["name"],
            decibels(item["sqnr_db"]),
            percent(item["top1_agreement"], 1),
            *([shown.format(item["top1_drop"])] if with_drop else []),
            f"{item['int8_mac_share']:.1%}",
        ]
        for item in attempts
    ]
    print_table(columns, rows)


def print_json(values: Mapping[str, Any], **beside: Path | None) -> None:
    """Print one JSON object on standard output, with the files that were written `beside`: their names."""
    written = {key: str(path) for key, path in beside.items() if path is not None}
    say(json.dumps({**values, **written}, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, text: Sequence[int] = (0,)) -> None:
    """Print a table; columns whose index is in `text` are aligned left, the others right.

    Where a terminal is too narrow the columns move together and the texts are cut, but never a number:
    rather than that, lines run over. A file or a pipe has no width, and nothing is cut there.
    """
    columns, *rows = ([visible(cell) for cell in row] for row in (columns, *rows))
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    screen, gap = console(), 3
    if screen.is_terminal and screen.width < _width(widths, gap):
        gap = 1
        # The widest text gives way first, down to what can still be told apart.
        while _width(widths, gap) > screen.width:
            widest = max(text, key=lambda index: widths[index])
            if widths[widest] <= _SHORTEST_TEXT:
                break
            widths[widest] -= 1
    table = _table(columns, rows, text, widths, gap)
    width = max(_width(widths, gap), screen.width if screen.is_terminal else 0)
    with printing():
        console(width=width).print(table)


#: Characters that a cut text keeps.
_SHORTEST_TEXT = 12


def _width(widths: Sequence[int], gap: int) -> int:
    """Return the width of a table: a space on either side, and `gap` of them between columns."""
    return sum(widths) + gap * (len(widths) - 1) + 2


def _table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    text: Sequence[int],
    widths: Sequence[int],
    gap: int,
) -> Table:

    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    # The box itself puts one space between columns.
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, (gap - 1) // 2), header_style="bold")
    for index, (column, width) in enumerate(zip(columns, widths, strict=True)):
        justify: Literal["left", "right"] = "left" if index in text else "right"
        table.add_column(Text(column), justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in rows:
        table.add_row(*map(Text, row))  # a text is taken as it is, whatever brackets are in it
    return table


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print label and value pairs, aligned."""
    width = max((len(label) for label, _ in facts), default=0)
    for label, value in facts:
        say(f"{label:<{width}}  {value}")


def print_next(*words: object) -> None:
    """Say which command comes next, quoted as a shell takes it."""
    say(f"next: {shlex.join(['edgecnn', *map(str, words)])}")


#: Ends a line of progress where nothing is drawn.
STEP = " ..."
#: The variable is set on a board: what its progress says is drawn elsewhere, each step and how far it is.
EVERY_STEP = "EDGECNN_EVERY_STEP"


@contextlib.contextmanager
def progress(total: int | None) -> Iterator[Progress]:
    """Yield a function that is told each step as it begins, and shows a bar on standard error.

    Where standard error is no terminal, each step is a line, once. What anybody's code prints meanwhile goes
    there too: standard output is for results.
    """
    with contextlib.redirect_stdout(sys.stderr), _shown(total) as show:
        yield show


@contextlib.contextmanager
def _shown(total: int | None) -> Iterator[Progress]:
    from rich import progress as drawn

    screen = console(err=True)
    every = bool(os.environ.get(EVERY_STEP))
    if every or not screen.is_terminal:
        said: set[str] = set()

        def tell(step: str) -> None:
            step = step if every else step.partition(":")[0]  # what follows counts
            if step not in said:
                said.add(step)
                say(f"{step}{STEP}", err=True)

        yield tell
        return
    bar = drawn.Progress(
        drawn.TextColumn("{task.description:<24}", markup=False),
        drawn.BarColumn(),
        drawn.TimeElapsedColumn(),
        console=screen,
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=total)
        begun = 0

        def show(step: str) -> None:
            nonlocal begun
            bar.update(task, description=visible(step), completed=begun)
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
