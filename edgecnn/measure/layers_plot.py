"""Draw where an inference's time goes, and how near a network is to the machine's limit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecnn.figure import write
from edgecnn.lazy import require
from edgecnn.measure.layers import BETWEEN, LayerProfile, LayerTime
from edgecnn.measure.roofline import HOW_TO_KNOW, Roofline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Names below the bars; more would run into each other.
_NAMES, _SHOWN = 24, 24
_WEIGHTED, _OTHER, _BETWEEN, _POINT = "#1f5fa8", "#8a8f98", "#e08a1e", "#c8553d"


def draw(profile: LayerProfile, roofline: Roofline | None, title: str, path: Path) -> None:
    """Write a picture of the layers' times, and of the roofline with the network's point.

    Raises MissingPackageError without matplotlib.
    """
    require("matplotlib", "drawing a plot")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(10, 7.5), layout="constrained")
        figure.suptitle(title, fontsize=12)
        times, roof = figure.subplots(2, 1)
        _times(times, profile)
        if roofline is None:
            roof.set_axis_off()
            roof.text(0.5, 0.5, HOW_TO_KNOW, ha="center", transform=roof.transAxes)
        else:
            _roof(roof, roofline, title)
    write(figure, path)


def _times(axes: Axes, profile: LayerProfile) -> None:
    from matplotlib.patches import Patch

    layers = profile.layers
    axes.bar(range(len(layers)), [layer.seconds * 1e3 for layer in layers], color=[*map(_colour, layers)])
    every = -(-len(layers) // _NAMES)
    places = range(0, len(layers), every)
    names = [layers[place].name for place in places]
    names = [name if len(name) <= _SHOWN else f"…{name[1 - _SHOWN :]}" for name in names]
    axes.set_xticks(places, names, rotation=45, ha="right", fontsize=7)
    axes.set_xlim(-0.7, len(layers) - 0.3)
    axes.set_ylabel("ms")
    axes.set_title(f"layers: {profile.covered:.0%} of {profile.latency * 1e3:.3g} ms", loc="left", fontsize=9)
    colours = {"with weights": _WEIGHTED, "without": _OTHER, BETWEEN: _BETWEEN}
    handles = [Patch(color=colour, label=label) for label, colour in colours.items()]
    axes.legend(handles=handles, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    _tidy(axes)


def _colour(layer: LayerTime) -> str:
    if layer.name.startswith(BETWEEN):
        return _BETWEEN
    return _WEIGHTED if layer.macs else _OTHER


def _roof(axes: Axes, found: Roofline, name: str) -> None:
    ridge = found.peak_gflops / found.peak_gbps
    low, high = min(ridge, found.intensity) / 8, max(ridge, found.intensity) * 8
    intensity = np.geomspace(low, high, 200)
    axes.loglog(intensity, np.minimum(found.peak_gflops, intensity * found.peak_gbps), color=_OTHER)
    axes.plot(found.intensity, found.achieved_gflops, "o", color=_POINT)
    axes.annotate(
        f"{name}: {found.share:.0%} of the {found.bound} limit",
        (found.intensity, found.achieved_gflops),
        xytext=(8, -4),
        textcoords="offset points",
        color=_POINT,
    )
    axes.set_xlabel("operations per byte")
    axes.set_ylabel("10⁹ operations per second")
    peaks = f"{found.peak_gflops:.3g} GFLOP/s, {found.peak_gbps:.3g} GB/s ({found.source})"
    axes.set_title(f"roofline: {peaks}", loc="left", fontsize=9)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
