"""Draw latency and throughput against the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.figure import BLUE, GREY, VERMILION, drawing, legend_above, tidy
from edgecnn.measure.latency.batch_sweep import BatchSweep
from edgecnn.measure.latency.statistics import LEAST_CHANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Share of the axis that a batch's number needs.
_ROOM = 0.045
#: Slowest over fastest beyond which a linear axis would press the fast ones onto its floor.
_WIDE = 10


def draw(sweep: BatchSweep, path: Path) -> None:
    """Write a picture of an engine's latency and throughput with each batch.

    Raises MissingPackageError without matplotlib.
    """
    with drawing(path, str(sweep), 7, 6.5) as figure:
        throughput, latency = figure.subplots(2, 1, sharex=True)
        _throughput(throughput, sweep)
        _latency(latency, sweep)
        _batches(latency, [item.batch for item in sweep.results])
        for axes in (throughput, latency):
            tidy(axes)


def _throughput(axes: Axes, sweep: BatchSweep) -> None:
    rates = [item.throughput_ips for item in sweep.results]
    axes.plot([item.batch for item in sweep.results], rates, "o-", color=BLUE)
    enough = sweep.enough.batch
    if enough < sweep.results[-1].batch:
        label = f"batch {enough}: larger ones give less than {LEAST_CHANGE:.0%} more"
        axes.axvline(enough, color=GREY, linestyle=":", label=label)
        legend_above(axes)
    axes.set_ylabel("images per second")
    axes.set_ylim(0, max(rates) * 1.08)


def _latency(axes: Axes, sweep: BatchSweep) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    batches = [item.batch for item in sweep.results]
    medians, tails = ([item.milliseconds[name] for item in sweep.results] for name in ("p50", "p99"))
    axes.plot(batches, medians, "o-", color=VERMILION, label="median")
    axes.fill_between(
        batches, medians, tails, color=VERMILION, alpha=0.25, linewidth=0, label="to the 99th percentile"
    )
    axes.set_ylabel("latency of a batch, ms")
    if max(tails) > _WIDE * min(medians):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, max(tails) * 1.08)
    legend_above(axes)


def _batches(axes: Axes, batches: Sequence[int]) -> None:
    """Name the batches for which there is room, of neighbours the one that doubles rather."""
    axes.set_xlabel("images in a batch")
    axes.set_xscale("log", base=2)
    apart = _ROOM * math.log2(batches[-1] / batches[0])
    named: list[int] = []
    ends = (batches[0], batches[-1])
    for batch in sorted(batches, key=lambda batch: (batch not in ends, batch & (batch - 1) != 0)):
        if all(abs(math.log2(batch / other)) >= apart for other in named):
            named.append(batch)
    axes.set_xticks(named, [str(batch) for batch in named])
    axes.minorticks_off()
