"""What a run made and measured, as a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecnn.recipe.outcome import Outcome
    from edgecnn.recipe.schema import Plan

CANDIDATES = ("candidate", "top-1", "size", "p50", "p99")
COLUMNS = ("step", "what", "top-1", "parameters", "MACs", "size", "latency", "seconds")


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return a row for each step; accuracies of several seeds as their mean and range."""
    return [
        [
            outcome.id,
            outcome.kind,
            _accuracy(outcome),
            _amount(outcome.value("params")),
            _amount(outcome.value("macs")),
            _bytes(outcome.value("bytes")),
            _latency(outcome.metrics[0]),
            f"{outcome.seconds:.0f}",
        ]
        for outcome in outcomes
    ]


def candidates(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return a row for each ONNX file: its accuracy, size and latency, whichever step measured them."""
    measured = {
        Path(row["path"]).name: row["latency_ms"]
        for outcome in outcomes
        for row in outcome.metrics[0].get("measured", ())
    }
    judged = {outcome.options["model"]: outcome for outcome in outcomes if outcome.kind == "eval"}
    found = []
    for outcome in outcomes:
        if not outcome.paths or not outcome.paths[0].endswith(".onnx"):
            continue
        latency = measured.get(outcome.paths[0], {})
        found.append(
            [
                outcome.id,
                _accuracy(judged.get(f"@{outcome.id}", outcome)),
                _bytes(outcome.value("bytes")),
                *(f"{latency[key]:.3g} ms" if latency else "-" for key in ("p50", "p99")),
            ]
        )
    return found


def details(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what else was measured, a line for each step that has more to say."""
    lines = []
    for outcome in outcomes:
        found = outcome.metrics[0]
        parts = []
        if "top1_before" in found:
            parts.append(f"before pruning {found['top1_before']:.2%}")
        if "float_top1" in found:
            parts.append(f"in float {found['float_top1']:.2%}")
        if "untrained_top1" in found:
            parts.append(f"int8 without training {found['untrained_top1']:.2%}")
        if "simulation_agreement" in found:
            parts.append(f"the file answers as the trained network on {found['simulation_agreement']:.2%}")
        if timing := found.get("latency"):
            parts.append(f"{timing['latency_ratio']:.2f}x the latency of the unpruned network")
        if parity := found.get("parity"):
            decibels = parity["sqnr_db"]
            parts.append("exact" if decibels is None else f"{decibels:.1f} dB")
            if parity["top1_agreement"] is not None:
                parts.append(f"{parity['top1_agreement']:.1%} agreement with what it was made from")
        for row in found.get("measured", ()):
            latency = row["latency_ms"]
            parts.append(
                f"{row['path'].rpartition('/')[2]}: p50 {latency['p50']:.3g}, p99 {latency['p99']:.3g} ms"
            )
        if outcome.met is False:
            parts.append("THE BUDGET WAS NOT MET")
        if parts:
            lines.append(f"{outcome.id}: {'; '.join(parts)}")
    return lines


def markdown(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """Return the summary as a Markdown page."""
    lines = [f"# {plan.name}", "", plan.about, ""]
    if compared := candidates(outcomes):
        lines += [*_table(CANDIDATES, compared), ""]
    lines += _table(COLUMNS, rows(outcomes))
    if found := details(outcomes):
        lines += ["", *(f"- {line}" for line in found)]
    if notes := [f"- {outcome.id}: {note}" for outcome in outcomes for note in outcome.notes]:
        lines += ["", "Notes:", "", *notes]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], content: Sequence[Sequence[str]]) -> list[str]:
    head = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return [*head, *("| " + " | ".join(row) + " |" for row in content)]


def _accuracy(outcome: Outcome) -> str:
    mean = outcome.value("top1")
    if mean is None:
        return ", ".join(f"{item['value']:.2f} {item['name']}" for item in _metrics(outcome)) or "-"
    values = [row["top1"] for row in outcome.metrics]
    if len(values) == 1:
        return f"{mean:.2%}"
    return f"{mean:.2%} ({min(values):.2%} to {max(values):.2%}, {len(values)} seeds)"


def _metrics(outcome: Outcome) -> list[dict[str, Any]]:
    """Return what a task that is no classification measures, of each seed: points of 100."""
    return [found for row in outcome.metrics if (found := row.get("metric")) and found.get("unit")]


def _amount(count: float | None) -> str:
    if count is None:
        return "-"
    power = min(3, int(math.log10(max(1.0, count)) // 3))
    return f"{count / 1000**power:.3g}{('', ' k', ' M', ' G')[power]}"


def _bytes(count: float | None) -> str:
    return "-" if count is None else f"{_amount(count)}B" if count >= 1000 else f"{count:.0f} B"


def _latency(found: dict[str, Any]) -> str:
    latency = found.get("latency_ms")
    return f"{latency['p50']:.3g} ms" if latency else "-"
