"""Draw what each layer's quantization costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgecnn.figure import write
from edgecnn.lazy import require
from edgecnn.quantize.sensitivity import LayerSensitivity


def draw(layers: Sequence[LayerSensitivity], path: Path) -> None:
    """Write a plot: decibels with one layer quantized alone, and with all up to it; worst layers named."""
    require("matplotlib", "drawing a plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(7.0, 0.16 * len(layers)), 4.2), layout="constrained")
    axes = figure.subplots()
    places = range(len(layers))
    axes.bar(places, [layer.alone_db for layer in layers], color="#4c78a8", label="this layer alone")
    axes.plot(
        places, [layer.cumulative_db for layer in layers], color="#e45756", label="all layers up to this one"
    )
    for place in sorted(places, key=lambda index: layers[index].alone_db)[:5]:
        axes.annotate(
            layers[place].node,
            (place, layers[place].alone_db),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=7,
        )
    axes.set_xlabel("quantized layers, in the network's order")
    axes.set_ylabel("SQNR of the output, dB")
    axes.legend()
    write(figure, path)
