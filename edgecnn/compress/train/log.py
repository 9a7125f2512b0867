"""What a training run did, epoch by epoch: as a table for programs, and as a plot for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import files
from edgecnn.errors import EdgecnnError, OutputError
from edgecnn.figure import BLUE, GREY, VERMILION, drawing, legend_above, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]


def check(path: Path) -> None:
    """Raise OutputError unless a log can be written there."""
    if path.suffix not in (".csv", ".json"):
        raise OutputError(f"a log cannot be written as {path.name}", hint="name it FILE.csv or FILE.json")
    files.check_writable(path)


def write(path: Path, rows: Rows) -> None:
    """Write one row for each epoch, as CSV or JSON by the file's ending. Raises OutputError."""
    if path.suffix == ".json":
        content = json.dumps(list(rows), indent=1)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue()
    files.write_atomic(path, content.encode())


@contextmanager
def kept(log: Path | None, picture: Path | None, title: str) -> Iterator[Callable[[Rows], None]]:
    """Give what writes the log so far; a run that is interrupted or fails is drawn as far as it came."""
    latest: list[Mapping[str, Any]] = []

    def keep(rows: Rows) -> None:
        latest[:] = rows
        if log:
            write(log, rows)

    try:
        yield keep
    except (KeyboardInterrupt, EdgecnnError):
        if picture and latest:
            plot(picture, latest, title)
        raise


#: Of a row, beside what the labels of the task measure.
_ALWAYS = ("epoch", "stage", "loss", "lr", "validation_loss", "seconds", "n", "data")


def figure(row: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return name and value of what the images measure in a row, or in a training's metrics."""
    return next(((key, row[key]) for key in row if key not in _ALWAYS), None)


def shown(name: str, value: float) -> tuple[str, str]:
    """Return a figure as people read it: top-1 is a share, others are in points."""
    return ("top-1", f"{value:.2%}") if name == "top1" else (name, f"{value:.2f}")


def plot(path: Path, rows: Rows, title: str) -> None:
    """Draw loss and accuracy, where it was measured, over the epochs, and where a stage begins.

    Raises MissingPackageError, OutputError.
    """
    from matplotlib.ticker import MaxNLocator

    validated, measured = "validation_loss" in rows[0], figure(rows[0])
    with drawing(path, title, 8, 6.5 if measured else 4) as drawn:
        panels = drawn.subplots(2 if measured else 1, 1, sharex=True, squeeze=False)[:, 0].tolist()
        _line(panels[0], rows, [row["loss"] for row in rows], BLUE, "training")
        panels[0].set_ylabel("loss")
        if validated:
            _line(panels[0], rows, [row["validation_loss"] for row in rows], VERMILION, "validation")
        if measured:
            name = measured[0]
            factor, label = (100, "top-1 accuracy, %") if name == "top1" else (1, name)
            _line(panels[1], rows, [factor * row[name] for row in rows], VERMILION, "validation")
            panels[1].set_ylabel(label)
            panels[1].set_ylim(top=min(100.5, panels[1].get_ylim()[1]))
        panels[0].set_ylim(bottom=0)
        legend_above(panels[0])
        _stages(panels, rows)
        panels[-1].set_xlabel("epoch")
        panels[-1].set_xlim(rows[0]["epoch"] - 0.5, rows[-1]["epoch"] + 0.5)
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        for axes in panels:
            tidy(axes)


def _line(axes: Axes, rows: Rows, values: Sequence[float], colour: str, label: str) -> None:
    dashes = "--" if label == "validation" else "-"
    epochs = [row["epoch"] for row in rows]
    axes.plot(epochs, values, dashes, marker="o", markersize=3, color=colour, label=label)


def _stages(panels: Sequence[Axes], rows: Rows) -> None:
    """Mark where a stage begins; their names stand above, at the left of the legend."""
    starts = [index for index in range(1, len(rows)) if rows[index]["stage"] != rows[index - 1]["stage"]]
    for index in starts:
        for axes in panels:
            axes.axvline(rows[index]["epoch"] - 0.5, color=GREY, linestyle=":")
    if starts:
        names = [f"{rows[index]['stage']} from epoch {rows[index]['epoch']}" for index in (0, *starts)]
        panels[0].set_title("; ".join(names), loc="left", fontsize=9)
