"""Draw where a network's cost sits along its depth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    drawing,
    legend_above,
    name_columns,
    shorten,
    tidy,
)  # fmt: skip
from edgecnn.zoo.analysis.result import Analysis, Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour of each kind of layer that has weights; kinds that have none are left grey.
_COLOURS = {
    "conv": BLUE,
    "1x1 conv": SKY,
    "depthwise conv": ORANGE,
    "grouped conv": YELLOW,
    "linear": GREEN,
    "attention": PURPLE,
}
#: Units of counts, the largest first.
_LARGE = ((1_000_000_000, "billions"), (1_000_000, "millions"), (1_000, "thousands"))


def draw(analysis: Analysis, title: str, path: Path) -> None:
    """Write a picture of multiply-accumulates, parameters and live memory along depth.

    A column is a layer, in the order in which they run; normalizations and
    activations count with the layer before them. Raises MissingPackageError without matplotlib.
    """
    columns = _columns(analysis)
    with drawing(path, title, 10, 7.5) as figure:
        macs, params, memory = figure.subplots(3, 1, sharex=True)
        _bars(macs, columns, [layer.macs for layer in columns], "MACs")
        _bars(params, columns, [layer.params for layer in columns], "parameters")
        _memory(memory, columns)
        _legend(macs, columns)
        which = name_columns(memory, [layer.name for layer in columns])
        memory.set_xlabel(f"layer, in the order in which they run ({len(columns)}{which})")


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
        color=[_COLOURS.get(layer.kind, GREY) for layer in columns],
    )
    axes.set_ylabel(f"{what}, {word}" if word else what)
    tidy(axes)


def _memory(axes: Axes, columns: list[Layer]) -> None:
    sizes = [layer.live_bytes for layer in columns]
    peak = max(range(len(sizes)), key=sizes.__getitem__)
    unit, letters = (1e6, "MB") if sizes[peak] >= 1e6 else (1e3, "kB")
    values = [size / unit for size in sizes]
    edges = [place - 0.5 for place in range(len(columns) + 1)]
    axes.stairs(values, edges, fill=True, color=VERMILION, alpha=0.3, linewidth=0)
    axes.stairs(values, edges, color=VERMILION, linewidth=1.2)
    axes.axhline(values[peak], color=VERMILION, linewidth=0.8, linestyle=":")
    late = peak > len(values) / 2
    axes.annotate(
        f"peak {values[peak]:.3g} {letters} at {shorten(columns[peak].name, 40)}",
        (peak, values[peak]),
        xytext=(-6 if late else 6, 4),
        textcoords="offset points",
        ha="right" if late else "left",
        color=VERMILION,
    )
    axes.set_ylim(0, values[peak] * 1.18)
    axes.set_ylabel(f"live activations, {letters}")
    tidy(axes)


def _legend(axes: Axes, columns: list[Layer]) -> None:
    from matplotlib.patches import Patch

    present = {layer.kind for layer in columns}
    legend_above(
        axes, [Patch(color=colour, label=kind) for kind, colour in _COLOURS.items() if kind in present]
    )
