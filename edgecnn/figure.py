"""Plots as files: checked before the work, drawn in one style, written whole."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import files
from edgecnn.errors import InvalidValueError
from edgecnn.optional_packages import require
from edgecnn.untrusted_text import visible

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")
#: Colours that people tell apart whatever colours they see: Okabe and Ito 2008, "Color Universal Design".
BLUE, SKY, ORANGE, YELLOW = "#0072b2", "#56b4e9", "#e69f00", "#f0e442"
GREEN, VERMILION, PURPLE, GREY = "#009e73", "#d55e00", "#cc79a7", "#8a8f98"
#: Points of all text but titles, and characters of a title in an inch of the figure.
TEXT, _TITLE_WIDTH = 9, 11
#: Names along an axis: more would run into each other; and characters of each.
_NAMES, _SHOWN = 24, 32


def check(path: Path) -> None:
    """Raise InvalidValueError, OutputError or MissingPackageError if no plot can be written to a path."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidValueError(
            f"a plot cannot be written as {path.name!r}", hint=f"end its name in {', '.join(_SUFFIXES)}"
        )
    files.check_writable(path)
    require("matplotlib", "drawing a plot")


@contextmanager
def drawing(path: Path, title: str, width: float, height: float) -> Iterator[Figure]:
    """Give a figure of a size in inches to draw in, and write it.

    Raises MissingPackageError without matplotlib, OutputError if it cannot be written.
    """
    require("matplotlib", "drawing a plot")
    import matplotlib
    from matplotlib.figure import Figure

    # A dollar in a file's name starts no formula.
    with matplotlib.rc_context({"font.size": TEXT, "text.parse_math": False}):
        figure = Figure(figsize=(width, height), layout="constrained")
        lines = textwrap.wrap(visible(title), round(width * _TITLE_WIDTH), break_on_hyphens=False)
        figure.suptitle("\n".join(lines), fontsize=11)
        yield figure
        write(figure, path)


def write(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its name says; the same figure gives the same file."""
    import matplotlib

    suffix = path.suffix.lower()
    content = io.BytesIO()
    dates: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    # Text stays text in an SVG.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgecnn"}):
        figure.savefig(content, format=suffix[1:], dpi=150, metadata=dates[suffix])
    files.write_atomic(path, content.getvalue())


def shorten(name: str, length: int, first: float = 0.4) -> str:
    """Return a name of at most so many characters; what goes is its middle, after a share of them."""
    name = visible(name)
    if len(name) <= length:
        return name
    head = int(first * (length - 1))
    return f"{name[:head]}…{name[head + 1 - length :]}"


def tidy(axes: Axes, grid: str = "y") -> None:
    """Leave out what says nothing, and put the lines of a grid ("x", "y" or "both") behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#dddddd", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def legend_above(axes: Axes, handles: Sequence[Artist] | None = None) -> None:
    """Put the legend above the axes, at the right, where it hides no data."""
    handles = axes.get_legend_handles_labels()[0] if handles is None else handles
    axes.legend(
        handles=handles,
        ncols=len(handles),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        frameon=False,
        borderaxespad=0.1,
    )


def name_columns(axes: Axes, names: Sequence[str], weights: Sequence[float] | None = None) -> str:
    """Name columns 0, 1, 2, ... below the axes, and return which of them are ("", ", every 3rd one named").

    Of more than have room those with the largest weights are named, or every so many without weights.
    """
    every = -(-len(names) // _NAMES)
    if weights is None:
        places = list(range(0, len(names), every))
        which = "" if every == 1 else f", every {_ordinal(every)} one named"
    else:
        places = []
        for place in sorted(range(len(names)), key=lambda place: -weights[place]):
            if all(abs(place - other) >= every for other in places):
                places.append(place)
        which = ""
    # Layers differ at the end of their names.
    labels = [shorten(names[place], _SHOWN, first=0) for place in places]
    axes.set_xticks(places, labels, rotation=45, ha="right", fontsize=7)
    limit_columns(axes, len(names))
    return which


def limit_columns(axes: Axes, columns: int) -> tuple[float, float]:
    """Set and return the ends of an axis of columns 0, 1, 2, ...: a few do not fill the width."""
    room = max(0.7, (8 - columns) / 2)
    return axes.set_xlim(-room, columns - 1 + room)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number not in (11, 12, 13) else "th"
    return f"{number}{ending}"
