"""Draw what a network answers: which classes it takes for which, how sure it is, and each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgecnn.figure import write
from edgecnn.lazy import require
from edgecnn.measure.accuracy import Accuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Up to so many classes each has its name, and each cell its number.
_NAMED, _NUMBERED = 40, 15
#: Cells along a side of the confusion matrix; of more classes several share one.
_CELLS = 250
#: Characters of a name that are shown.
_SHOWN = 18
#: Classes with the lowest accuracy that are named where not all are.
_WORST = 8
_BLUE, _RED, _GREY = "#4c78a8", "#e45756", "#8a8f98"


def draw(accuracy: Accuracy, path: Path) -> None:
    """Write a figure of the confusion matrix, the reliability diagram and the accuracy of each class.

    Only classes occur that are the label or the answer of an image. Raises MissingPackageError without
    matplotlib.
    """
    require("matplotlib", "drawing a plot")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(13, 7.5), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1.35, 1), squeeze=False)[0]
        low, high = accuracy.top1_interval
        figure.suptitle(
            f"{accuracy.path.name} on {accuracy.n} images:"
            f" top-1 {accuracy.top1:.2%} ({low:.1%} to {high:.1%})",
            parse_math=False,
        )
        _confusion(left, accuracy)
        diagram, classes = right.subplots(2, 1)
        _reliability(diagram, accuracy)
        _classes(classes, accuracy)
    write(figure, path)


def short(name: str) -> str:
    """Return a name that fits below a picture."""
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…"


def coarse(matrix: npt.NDArray[np.float64], cells: int) -> npt.NDArray[np.float64]:
    """Return a square matrix with at most `cells` on a side, each the largest of those that it stands for.

    The mean would make a single confusion among a thousand classes invisible. NaN where all are NaN.
    """
    every = -(-len(matrix) // cells)
    missing = -len(matrix) % every
    filled = np.pad(np.where(np.isnan(matrix), -1, matrix), (0, missing), constant_values=-1)
    side = len(filled) // every
    largest = filled.reshape(side, every, side, every).max(axis=(1, 3))
    return np.where(largest < 0, np.nan, largest)


def _confusion(figure: Figure, accuracy: Accuracy) -> None:
    counts = accuracy.confusion
    shown = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1)).tolist()
    counts = counts[np.ix_(shown, shown)]
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    cells = coarse(shares, _CELLS)
    axes = figure.subplots()
    size = len(shown)
    # The square root makes rare confusions visible beside the diagonal.
    image = axes.imshow(
        np.sqrt(cells), cmap="Blues", vmin=0, vmax=1, interpolation="nearest", extent=(0, size, size, 0)
    )
    bar = figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class's images")
    ticks = np.array([0, 0.01, 0.05, 0.2, 0.5, 1.0])
    bar.set_ticks(np.sqrt(ticks).tolist(), labels=[f"{tick:.0%}" for tick in ticks])
    if size <= _NUMBERED:
        for row, column in np.argwhere(counts):
            axes.text(
                column + 0.5,
                row + 0.5,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[row, column] > 0.3 else "black",
            )
    if size <= _NAMED:
        names = [short(accuracy.names[index]) for index in shown]
        places = np.arange(size) + 0.5
        axes.set_xticks(places, names, rotation=90, fontsize=8, parse_math=False)
        axes.set_yticks(places, names, fontsize=8, parse_math=False)
    every = -(-size // _CELLS)
    note = f"; a cell is the most of {every} x {every}" if every > 1 else ""
    axes.set_xlabel(f"answer ({size} classes{note})")
    axes.set_ylabel("true class")


def _reliability(axes: Axes, accuracy: Accuracy) -> None:
    bins = [item for item in accuracy.reliability if item.n]
    width = accuracy.reliability[0].high
    axes.bar(
        [item.low for item in bins],
        [item.accuracy or 0.0 for item in bins],
        width=width,
        align="edge",
        color=_BLUE,
        edgecolor="white",
        label="accuracy",
    )
    axes.plot(
        [item.confidence or 0.0 for item in bins],
        [item.accuracy or 0.0 for item in bins],
        "o",
        color=_RED,
        markersize=3,
        label="at the mean confidence",
    )
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="--", label="as sure as right")
    for item in bins:
        axes.text(
            item.low + width / 2, 0.01, str(item.n), ha="center", va="bottom", fontsize=6, color="white"
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("confidence of the answer (with the number of images)")
    axes.set_ylabel("accuracy")
    axes.set_title(f"expected calibration error {accuracy.ece:.1%}")
    axes.legend(loc="upper left", framealpha=0.9, fontsize=8)


def _classes(axes: Axes, accuracy: Accuracy) -> None:
    order = accuracy.worst_classes
    counts, right = accuracy.confusion.sum(axis=1), accuracy.confusion.diagonal()
    shares = [right[index] / counts[index] for index in order]
    places = range(len(order))
    axes.bar(places, shares, width=0.85 if len(order) <= _NAMED else 1.0, color=_BLUE)
    axes.axhline(accuracy.top1, color=_RED, linewidth=0.8)
    if len(order) <= _NAMED:
        names = [short(accuracy.names[index]) for index in order]
        axes.set_xticks(places, names, rotation=90, fontsize=8, parse_math=False)
    else:
        worst = "\n".join(
            f"{shares[place]:.0%} {short(accuracy.names[index])}"
            for place, index in enumerate(order[:_WORST])
        )
        # The lowest bars are there, so that the text covers none.
        axes.text(0.02, 0.97, worst, transform=axes.transAxes, va="top", fontsize=7, parse_math=False)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("accuracy")
    axes.set_xlabel(f"{len(order)} classes, the lowest first; the line is top-1")
