"""`edgecnn compare`."""

from __future__ import annotations

from typing import Any

import click

from edgecnn.cli import common, request_options
from edgecnn.cli.on_board import BoardCommand, BoardPath
from edgecnn.cli.store_results import keep, store_option
from edgecnn.cli.terminal import note, say
from edgecnn.measure.measure_options import CompareRequest


@click.command("compare", cls=BoardCommand)
@click.argument("models", type=BoardPath(sent=True), nargs=-1, required=True)
@request_options.options(CompareRequest)
@store_option
@common.common
def command(models: tuple[str, ...], no_store: bool, as_json: bool, **values: Any) -> int:
    """Say how many times as fast MODELS are as the first of them, with a 95 % interval.

    Model files are measured here, in short turns right after each other, and are loaded several times for
    it. Two results, as `profile --json` printed them, are compared as they stand: the new one, then its
    baseline.

    \b
    edgecnn compare float.onnx int8.onnx
    edgecnn compare new.json baseline.json --fail-above 1.05
    """
    from edgecnn.verbs.compare import compare_models

    if len(models) < 2:
        raise click.UsageError("give two files at least")
    request = request_options.request(CompareRequest, values, models=models)
    with common.progress(None) as show:
        done = compare_models(request, show)
    if done.measured is not None and not no_store:
        for engine, kept in done.measured.pairs():
            keep("compare", engine, kept)
    if as_json:
        common.print_json(done.to_json())
    else:
        _print(done.to_json())
    return common.EXIT_BUDGET if done.met is False else 0


def _print(found: dict[str, Any]) -> None:
    rows = []
    for row in found["results"]:
        ratio = row["ratio"]
        rows.append(
            [
                row["path"],
                row["backend"],
                f"{row['latency_ms']['p50']:.2f}",
                f"{1 / ratio['value']:.3f}" if ratio else "",
                f"{1 / ratio['high']:.3f} to {1 / ratio['low']:.3f}" if ratio else "baseline",
                row["verdict"] or "",
            ]
        )
    common.print_table(["", "backend", "p50 ms", "times as fast", "95 %", ""], rows, text=(0, 1, 5))
    for line in found["unlike"]:
        say(f"unlike: {line}", fg="yellow")
    for remark in found["notes"]:
        note(remark)
    gate = found.get("gate")
    if gate is not None and not gate["met"]:
        say(f"the gate was NOT passed: one takes more than {gate['fail_above']:g} times as long", fg="red")
