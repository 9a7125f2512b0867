"""Draw what a network answers: which classes it takes for which, how sure it is, and each class."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgecnn.figure import BLUE, GREY, VERMILION, drawing, legend_above, limit_columns, shorten, tidy
from edgecnn.measure.accuracy.evaluate import Accuracy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

#: Inches that a character of a name takes, and the ticks of shares.
_CHARACTER, _TICKS = 0.09, (0, 0.2, 0.4, 0.6, 0.8, 1)
#: Up to so many classes each has its name, and each cell its number.
_NAMED, _NUMBERED = 40, 15
#: Cells along a side of the confusion matrix; of more classes several share one.
_CELLS = 250
#: Characters of a class's name.
_SHOWN = 16
#: Classes with the lowest accuracy, and confusions, that are listed where not all are shown.
_LISTED = 6


def draw(accuracy: Accuracy, path: Path) -> None:
    """Write a figure of the confusion matrix, the reliability diagram and the accuracy of each class.

    Only classes occur that are the label or the answer of an image. Raises MissingPackageError without
    matplotlib.
    """
    low, high = accuracy.top1_interval
    title = (
        f"{accuracy.path.name} on {accuracy.n} images: top-1 {accuracy.top1:.2%} ({low:.1%} to {high:.1%})"
    )
    with drawing(path, title, 13, 7.5) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=(1.35, 1), squeeze=False)[0]
        _confusion(left, accuracy)
        diagram, classes = right.subplots(2, 1)
        _reliability(diagram, accuracy)
        _classes(right, classes, accuracy)


def short(name: str) -> str:
    """Return a class's name that fits below a picture."""
    return shorten(name, _SHOWN)


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


def _confusion(figure: SubFigure, accuracy: Accuracy) -> None:
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
        axes.set_xticks(places, names, rotation=_rotation(names, 4.5 / size), fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
    every = -(-size // _CELLS)
    note = f"; a cell is the most of {every} x {every}" if every > 1 else ""
    axes.set_xlabel(f"answer ({size} classes{note})")
    axes.set_ylabel("true class")
    if size > _NUMBERED:
        _name_confusions(figure, counts, [accuracy.names[index] for index in shown])


def _name_confusions(figure: SubFigure, counts: npt.NDArray[np.int64], names: list[str]) -> None:
    """Say below the matrix, whose cells have no numbers, what is taken for what the most often."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    rows, columns = np.unravel_index(np.argsort(-wrong, axis=None, kind="stable")[:_LISTED], wrong.shape)
    lines = [
        f"{wrong[row, column]} of {counts[row].sum()} {shorten(names[row], 30)}"
        f" are taken for {shorten(names[column], 30)}"
        for row, column in zip(rows, columns, strict=True)
        if wrong[row, column]
    ]
    figure.supxlabel("\n".join(lines), fontsize=8)


def _reliability(axes: Axes, accuracy: Accuracy) -> None:
    bins = [item for item in accuracy.reliability if item.n]
    width = accuracy.reliability[0].high
    axes.bar(
        [item.low for item in bins],
        [item.accuracy or 0.0 for item in bins],
        width=width,
        align="edge",
        color=BLUE,
        edgecolor="white",
        label="accuracy",
    )
    axes.plot(
        [item.confidence or 0.0 for item in bins],
        [item.accuracy or 0.0 for item in bins],
        "o",
        color=VERMILION,
        markersize=3,
        label="at the mean confidence",
    )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--", label="perfectly calibrated")
    for item in bins:
        axes.text(
            item.low + width / 2, (item.accuracy or 0) + 0.02, _count(item.n),
            ha="center", va="bottom", fontsize=7,
        )  # fmt: skip
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.1)
    axes.set_yticks(_TICKS)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("confidence of the answer (above a bar: its number of images)")
    axes.set_ylabel("accuracy")
    axes.set_title(f"expected calibration error {accuracy.ece:.1%}", fontsize=10, pad=20)
    legend_above(axes)
    tidy(axes)


def _count(number: int) -> str:
    """Return a number that fits above a narrow bar."""
    return str(number) if number < 10_000 else f"{number / 1000:.0f}k"


def _classes(figure: SubFigure, axes: Axes, accuracy: Accuracy) -> None:
    order = accuracy.worst_classes
    counts, right = accuracy.confusion.sum(axis=1), accuracy.confusion.diagonal()
    shares = [right[index] / counts[index] for index in order]
    places = range(len(order))
    axes.bar(places, shares, width=0.85 if len(order) <= _NAMED else 1.0, color=BLUE)
    axes.axhline(accuracy.top1, color=VERMILION, linewidth=1, label=f"top-1 {accuracy.top1:.1%}")
    if len(order) <= _NAMED:
        names = [short(accuracy.names[index]) for index in order]
        low, high = limit_columns(axes, len(order))
        axes.set_xticks(places, names, rotation=_rotation(names, 4.5 / (high - low)), fontsize=8)
    else:
        worst = "\n".join(
            f"{shares[place]:.0%} {short(accuracy.names[index])}"
            for place, index in enumerate(order[:_LISTED])
        )
        # Below the bars, for above them there is no room if all are high.
        figure.supxlabel(worst, fontsize=8)
        axes.set_xlim(-0.5, len(order) - 0.5)
    axes.set_ylim(0, 1.02)
    axes.set_yticks(_TICKS)
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_ylabel("accuracy")
    axes.set_xlabel(f"{len(order)} classes, the lowest first")
    legend_above(axes)
    tidy(axes)


def _rotation(names: list[str], inches: float) -> int:
    """Return how names along an axis are turned: not at all where so many inches hold each."""
    return 0 if max(map(len, names)) * _CHARACTER < inches else 90
