"""Draw what a task's metric says of each class, and its curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.errors import InvalidValueError
from edgecnn.figure import BLUE, GREY, VERMILION, drawing, legend_above, limit_columns, shorten, tidy
from edgecnn.measure.accuracy.measured_outputs import MeasuredOutputs
from edgecnn.tasks.metric import Details

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Classes that have a name below their bar, and a colour for their curve.
_NAMED, _COLOURED = 30, 10


def draw(measured: MeasuredOutputs, path: Path) -> None:
    """Write a figure of the curves of all classes, if there are any, and of the figure of each class.

    Raises MissingPackageError without matplotlib, InvalidValueError for a result that has no classes.
    """
    details, figure_of_all = measured.details, measured.metric
    if details is None or figure_of_all is None:
        raise InvalidValueError("nothing here has classes that could be drawn", hint="leave out --plot")
    title = f"{measured.path.name} on {measured.n} images: {figure_of_all.value:.2f} {figure_of_all.unit}"
    with drawing(path, title, 13 if details.curves else 8, 5.5) as figure:
        axes = figure.subplots(1, 1 + bool(details.curves), squeeze=False)[0]
        if details.curves:
            _curves(axes[0], details)
        _classes(axes[-1], details, figure_of_all.value)


def _curves(axes: Axes, details: Details) -> None:
    few = len(details.curves) <= _COLOURED
    for curve in details.curves:
        axes.plot(curve.x, curve.y, linewidth=1.2 if few else 0.6, color=None if few else GREY)
    mean = sum(curve.y for curve in details.curves) / len(details.curves)
    axes.plot(details.curves[0].x, mean, color="black", linewidth=2, label="mean of all classes")
    if few:
        for line, curve in zip(axes.lines, details.curves, strict=False):
            line.set_label(shorten(curve.name, 18))
        axes.legend(frameon=False, fontsize=8)
    else:
        legend_above(axes)
    axes.set_xlabel(details.axes[0])
    axes.set_ylabel(details.axes[1])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    tidy(axes, "both")


def _classes(axes: Axes, details: Details, mean: float) -> None:
    rows = sorted(details.classes, key=lambda row: row[details.key])
    axes.bar(range(len(rows)), [row[details.key] for row in rows], color=BLUE)
    axes.axhline(mean, color=VERMILION, linewidth=1, label=f"mean {mean:.1f}")
    if len(rows) <= _NAMED:
        limit_columns(axes, len(rows))
        names = [shorten(row["name"], 18) for row in rows]
        axes.set_xticks(range(len(rows)), names, rotation=90, fontsize=8)
    axes.set_ylim(0, 102)
    axes.set_xlabel(f"{len(rows)} classes, the lowest first")
    axes.set_ylabel(f"{details.key}, points")
    legend_above(axes)
    tidy(axes)
