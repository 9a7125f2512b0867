"""Draw where an inference's time goes, and how near a network is to the machine's limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.figure import (
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    drawing,
    legend_above,
    name_columns,
    tidy,
)  # fmt: skip
from edgecnn.measure.layers.layer_times import BETWEEN, LayerProfile, LayerTime
from edgecnn.measure.layers.roofline import HOW_TO_KNOW, Roofline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"with weights": BLUE, "without weights": SKY, "cost unknown": GREY, BETWEEN: ORANGE}
#: Milliseconds below which a layer's time is given in microseconds.
_SHORT = 0.1


def draw(profile: LayerProfile, roofline: Roofline | None, title: str, path: Path) -> None:
    """Write a picture of the layers' times, and of the roofline with the network's point if it is known.

    Raises MissingPackageError without matplotlib.
    """
    with drawing(path, title, 10, 4.8 if roofline is None else 8) as figure:
        if roofline is None:
            _times(figure.subplots(), profile)
            figure.supxlabel(HOW_TO_KNOW, fontsize=8)
        else:
            times, roof = figure.subplots(2, 1)
            _times(times, profile)
            _roof(roof, roofline)


def _times(axes: Axes, profile: LayerProfile) -> None:
    from matplotlib.patches import Patch

    layers = profile.layers
    spent = [layer.seconds * 1e3 for layer in layers]
    unit, scale = ("µs", 1e3) if max(spent, default=0) < _SHORT else ("ms", 1)
    axes.bar(
        range(len(layers)), [time * scale for time in spent], color=[_COLOURS[_kind(row)] for row in layers]
    )
    # The colour says that a row is between layers.
    names = [row.operator if _kind(row) == BETWEEN else row.name for row in layers]
    name_columns(axes, names, spent)
    axes.set_ylabel(f"time of a layer, {unit}")
    axes.set_xlabel(f"layer, in the order in which they run ({_named(axes, len(layers))})")
    axes.set_title(
        f"{profile.covered:.0%} of an inference's {profile.latency * 1e3:.3g} ms", loc="left", fontsize=9
    )
    kinds = {_kind(layer) for layer in layers}
    legend_above(
        axes, [Patch(color=colour, label=kind) for kind, colour in _COLOURS.items() if kind in kinds]
    )
    tidy(axes)


def _named(axes: Axes, count: int) -> str:
    return f"{count}" if len(axes.get_xticks()) == count else f"{count}, the slowest of neighbours named"


def _kind(layer: LayerTime) -> str:
    if layer.name.startswith(BETWEEN):
        return BETWEEN
    if layer.macs is None:
        return "cost unknown"
    return "with weights" if layer.macs else "without weights"


def _roof(axes: Axes, found: Roofline) -> None:
    ridge = found.peak_gflops / found.peak_gbps
    low, high = min(ridge, found.intensity) / 8, max(ridge, found.intensity) * 8
    intensity = np.geomspace(low, high, 200)
    axes.loglog(intensity, np.minimum(found.peak_gflops, intensity * found.peak_gbps), color=GREY)
    limit = min(found.peak_gflops, found.intensity * found.peak_gbps)
    axes.vlines(found.intensity, found.achieved_gflops, limit, color=VERMILION, linestyle=":")
    axes.plot(found.intensity, found.achieved_gflops, "o", color=VERMILION)
    # Towards the middle there is room.
    right = found.intensity**2 > low * high
    axes.annotate(
        f"{_digits(found.achieved_gflops)} GFLOP/s: {found.share:.0%} of the {found.bound} limit",
        (found.intensity, found.achieved_gflops),
        xytext=(-8 if right else 8, -12),
        textcoords="offset points",
        ha="right" if right else "left",
        color=VERMILION,
    )
    floor, roof = low * found.peak_gbps, found.peak_gflops
    axes.set_ylim(min(floor, found.achieved_gflops) / 2, max(roof, found.achieved_gflops) * 2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: _digits(value))
        axis.set_minor_formatter("")
    axes.set_xlabel("operations per byte that moves (a multiply-accumulate is two)")
    axes.set_ylabel("GFLOP/s")
    peaks = f"{_digits(found.peak_gflops)} GFLOP/s, {_digits(found.peak_gbps)} GB/s ({found.source})"
    axes.set_title(f"roofline: {peaks}", loc="left", fontsize=9)
    tidy(axes, "both")


def _digits(value: float) -> str:
    """Return a number with three digits that count, and no exponent."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
