"""Draw where a network's cost sits along its depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.figure import write
from edgecnn.lazy import require
from edgecnn.zoo.analysis.result import Analysis, Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Names below the plot; more would run into each other.
_NAMES = 24
#: Characters of a name that are shown there.
_SHOWN = 24
#: Colour of each kind of layer that has weights; kinds that have none are left grey.
_COLOURS = {
    "conv": "#1f5fa8",
    "1x1 conv": "#5fa8e0",
    "depthwise conv": "#e08a1e",
    "grouped conv": "#f2c14e",
    "linear": "#4c9f70",
    "attention": "#9a5ba5",
}
#: Units of counts, the largest first.
_LARGE = ((1_000_000_000, "billions"), (1_000_000, "millions"), (1_000, "thousands"))
_GREY, _MEMORY = "#8a8f98", "#c8553d"


def draw(analysis: Analysis, title: str, path: Path) -> None:
    """Write a picture of multiply-accumulates, parameters and live memory along depth.

    A column is a layer, in the order in which they run; normalizations and
    activations count with the layer before them. Raises MissingPackageError without matplotlib.
    """
    require("matplotlib", "drawing a plot")
    import matplotlib
    from matplotlib.figure import Figure

    columns = _columns(analysis)
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 7.5), layout="constrained")
        figure.suptitle(title, fontsize=12)
        macs, params, memory = figure.subplots(3, 1, sharex=True)
        _bars(macs, columns, [layer.macs for layer in columns], "MACs")
        _bars(params, columns, [layer.params for layer in columns], "parameters")
        _memory(memory, columns)
        _legend(macs, columns)
        _depth(memory, columns)
    write(figure, path)


def _columns(analysis: Analysis) -> list[Layer]:
    """Return the layers that get a column, each with what follows it and is no column of its own."""
    columns: list[Layer] = []
    for layer in analysis.layers:
        if layer.is_fused and columns:
            columns[-1] = replace(
                columns[-1],
                params=columns[-1].params + layer.params,
                live_bytes=max(columns[-1].live_bytes, layer.live_bytes),
            )
        else:
            columns.append(layer)
    return columns


def _bars(axes: Axes, columns: list[Layer], values: list[int], what: str) -> None:
    unit, word = next(((unit, word) for unit, word in _LARGE if max(values) >= unit), (1, ""))
    axes.bar(
        range(len(columns)),
        [value / unit for value in values],
        width=0.85,
        color=[_COLOURS.get(layer.kind, _GREY) for layer in columns],
    )
    axes.set_ylabel(f"{what}, {word}" if word else what)
    _tidy(axes)


def _memory(axes: Axes, columns: list[Layer]) -> None:
    sizes = [layer.live_bytes for layer in columns]
    peak = max(range(len(sizes)), key=sizes.__getitem__)
    unit, letters = (1e6, "MB") if sizes[peak] >= 1e6 else (1e3, "kB")
    values = [size / unit for size in sizes]
    edges = [place - 0.5 for place in range(len(columns) + 1)]
    axes.stairs(values, edges, fill=True, color=_MEMORY, alpha=0.3, linewidth=0)
    axes.stairs(values, edges, color=_MEMORY, linewidth=1.2)
    axes.axhline(values[peak], color=_MEMORY, linewidth=0.8, linestyle=":")
    late = peak > len(values) / 2
    axes.annotate(
        f"peak {values[peak]:.3g} {letters} at {columns[peak].name}",
        (peak, values[peak]),
        xytext=(-6 if late else 6, 4),
        textcoords="offset points",
        ha="right" if late else "left",
        color=_MEMORY,
    )
    axes.set_ylim(0, values[peak] * 1.18)
    axes.set_ylabel(f"live activations, {letters}")
    _tidy(axes)


def _legend(axes: Axes, columns: list[Layer]) -> None:
    from matplotlib.patches import Patch

    present = {layer.kind for layer in columns}
    handles = [Patch(color=colour, label=kind) for kind, colour in _COLOURS.items() if kind in present]
    # Above the axes: there it hides no column.
    axes.legend(
        handles=handles,
        ncols=len(handles),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        frameon=False,
        borderaxespad=0.1,
    )


def _depth(axes: Axes, columns: list[Layer]) -> None:
    every = -(-len(columns) // _NAMES)
    places = range(0, len(columns), every)
    names = [columns[place].name for place in places]
    names = [name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…" for name in names]
    axes.set_xticks(places, names, rotation=45, ha="right", fontsize=7)
    axes.set_xlim(-0.7, len(columns) - 0.3)
    named = "" if every == 1 else f", every {_ordinal(every)} one named"
    axes.set_xlabel(f"layer, in the order in which they run ({len(columns)}{named})")


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _ordinal(number: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number not in (11, 12, 13) else "th"
    return f"{number}{ending}"
