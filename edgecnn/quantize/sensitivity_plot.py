"""Draw what each layer's quantization costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.figure import GREY, ORANGE, SKY, VERMILION, drawing, legend_above, name_columns, shorten, tidy
from edgecnn.quantize.layer_sensitivity import LayerSensitivity

if TYPE_CHECKING:
    from matplotlib.artist import Artist

#: Layers that stand out: those that cost the most alone; of so many more that they are worth a list.
_WORST = 5
#: Layers whose points on the line do not run into each other.
_POINTS = 80


def draw(layers: Sequence[LayerSensitivity], title: str, path: Path) -> None:
    """Write a plot: decibels with one layer quantized alone, and with all up to it; worst layers stand out.

    Raises MissingPackageError without matplotlib.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    alone = [layer.alone_db for layer in layers]
    worst = sorted(range(len(layers)), key=alone.__getitem__)[:_WORST] if len(layers) > _WORST else []
    marker = "o" if len(layers) <= _POINTS else ""
    with drawing(path, title, 11, 5) as figure:
        axes = figure.subplots()
        axes.bar(
            range(len(layers)),
            [value if math.isfinite(value) else 0.0 for value in alone],
            color=[ORANGE if place in worst else SKY for place in range(len(layers))],
        )
        axes.plot(
            range(len(layers)),
            [value if math.isfinite(value) else math.nan for value in (row.cumulative_db for row in layers)],
            marker=marker,
            color=VERMILION,
            markersize=3,
        )
        for place in [place for place, value in enumerate(alone) if math.isinf(value)]:
            axes.text(place, 0, "∞", ha="center", va="bottom")
        axes.axhline(0, color=GREY, linewidth=0.8)
        name_columns(axes, [layer.node for layer in layers], [-value for value in alone])
        named = len(axes.get_xticks())
        which = "" if named == len(layers) else ", the worst of neighbours named"
        axes.set_xlabel(f"quantized layers, in the network's order ({len(layers)}{which})")
        axes.set_ylabel("SQNR of the output, dB (more is better)")
        handles: list[Artist] = [Patch(color=SKY, label="this layer alone")]
        if worst:
            handles.append(Patch(color=ORANGE, label=f"the {_WORST} worst alone"))
            lines = [f"{alone[place]:.1f} dB  {shorten(layers[place].node, 32, first=0)}" for place in worst]
            axes.text(
                1.01,
                1,
                "\n".join(["the worst alone:", *lines]),
                transform=axes.transAxes,
                va="top",
                fontsize=8,
            )
        line = Line2D([], [], color=VERMILION, marker=marker, markersize=3, label="all layers up to this one")
        legend_above(axes, [*handles, line])
        tidy(axes)
