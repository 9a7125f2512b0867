"""Draw latency and throughput against the batch."""

from __future__ import annotations

from pathlib import Path

from edgecnn.figure import write
from edgecnn.lazy import require
from edgecnn.measure.batch_sweep import BatchSweep

_LATENCY, _SPREAD, _THROUGHPUT, _MARK = "#c8553d", "#eec4ba", "#1f5fa8", "#8a8f98"


def draw(sweep: BatchSweep, path: Path) -> None:
    """Write a picture of an engine's latency and throughput with each batch.

    Raises MissingPackageError without matplotlib.
    """
    require("matplotlib", "drawing a plot")
    import matplotlib
    from matplotlib.figure import Figure

    batches = [item.batch for item in sweep.results]
    spent = [item.milliseconds for item in sweep.results]
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(7, 6.5), layout="constrained")
        figure.suptitle(str(sweep), fontsize=10)
        throughput, latency = figure.subplots(2, 1, sharex=True)
        throughput.plot(batches, [item.throughput_ips for item in sweep.results], "o-", color=_THROUGHPUT)
        throughput.axvline(sweep.enough.batch, color=_MARK, linestyle=":")
        throughput.set_ylabel("images per second")
        latency.fill_between(
            batches,
            [item["p50"] for item in spent],
            [item["p99"] for item in spent],
            color=_SPREAD,
            label="to the 99th percentile",
        )
        latency.plot(batches, [item["p50"] for item in spent], "o-", color=_LATENCY, label="median")
        latency.set_ylabel("ms of one inference")
        latency.set_xlabel("batch")
        latency.set_xscale("log", base=2)
        latency.set_xticks(batches, [str(batch) for batch in batches])
        latency.minorticks_off()
        latency.legend(frameon=False, loc="upper left")
        for axes in (throughput, latency):
            axes.set_ylim(bottom=0)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
    write(figure, path)
