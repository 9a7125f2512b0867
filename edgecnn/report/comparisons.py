"""Engines that were measured side by side: how many times as long one takes as the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecnn.measure.store import Result
from edgecnn.report.figures import moment, settings, short


def comparisons(results: Sequence[Result], *, everything: bool = False) -> list[dict[str, Any]]:
    """Return what a page shows of the comparisons among results that come oldest first.

    Of the same two files under the same settings only the newest is taken, unless `everything` is asked for.
    """
    found = [result for result in results if result.kind == "compare"]
    if not everything:
        found = list({(*settings(item), item.values["baseline"]["sha256"]): item for item in found}.values())
    return [_row(item) for item in found]


def _row(result: Result) -> dict[str, Any]:
    values = result.values
    baseline, ratio = values["baseline"], values["ratio"]
    return {
        "name": Path(result.path).name,
        "path": result.path,
        "backend": values["backend"],
        "p50": short(values["latency_ms"]["p50"]),
        "baseline": Path(baseline["path"]).name,
        "baseline_path": baseline["path"],
        "baseline_backend": baseline["backend"],
        "baseline_p50": short(baseline["latency_ms"]["p50"]),
        "ratio": short(ratio["value"]),
        "interval": [short(ratio["low"]), short(ratio["high"])],
        "verdict": values["verdict"],
        "unlike": values["unlike"],
        "batch": values["conditions"]["batch"],
        "host": result.host,
        "time": moment(result),
    }
