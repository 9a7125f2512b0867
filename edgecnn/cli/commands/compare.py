"""`edgecnn compare`."""

from __future__ import annotations

from typing import Any

import click

from edgecnn.cli import common
from edgecnn.cli.backend_option import backend_option, loaders
from edgecnn.cli.on_board import BoardCommand, BoardPath
from edgecnn.cli.store_results import keep, store_option
from edgecnn.cli.terminal import say


@click.command("compare", cls=BoardCommand)
@click.argument("models", type=BoardPath(sent=True), nargs=-1, required=True)
@click.option("--batch", type=click.IntRange(1), help="Images per inference  [1, or the model's].")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads  [the library's choice].")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    default=5.0,
    show_default=True,
    help="Time per model, at least.",
)
@click.option(
    "--fail-above",
    type=click.FloatRange(min=0, min_open=True),
    help="Times as long as the first that one may take, else exit with 3: 1.05.",
)
@click.option("--force", is_flag=True, help="Compare although the conditions are unlike; the result says so.")
@backend_option
@store_option
@common.common
def command(
    models: tuple[str, ...],
    batch: int | None,
    threads: int,
    device: str,
    seconds: float,
    fail_above: float | None,
    force: bool,
    backend: str | None,
    no_store: bool,
    as_json: bool,
) -> int:
    """Say how many times as fast MODELS are as the first of them, with a 95 % interval.

    Model files are measured here, in short turns right after each other, and are loaded several times for
    it. Two results, as `profile --json` printed them, are compared as they stand: the new one, then its
    baseline.

    \b
    edgecnn compare float.onnx int8.onnx
    edgecnn compare new.json baseline.json --fail-above 1.05
    """
    if len(models) < 2:
        raise click.UsageError("give two files at least")
    results = [name.endswith(".json") for name in models]
    if any(results):
        if not all(results) or len(models) != 2:
            raise click.UsageError("give either model files, or two results: NEW.json BASELINE.json")
        from edgecnn.measure.latency.gate import compare_results

        found = compare_results(*models, force=force)
    else:
        from edgecnn.measure.latency.compare_engines import compare

        loading = {"device": device, "threads": threads}
        with common.progress(None) as show:
            engines = loaders(models, backend, show, **loading)
            compared = compare(engines, batch=batch, seconds=seconds, force=force, progress=show)
        found = compared.to_json()
        for row, model in zip(found["results"], models, strict=True):
            row["path"] = model
        found["baseline"] = models[0]
        for engine, values in [] if no_store else compared.pairs():
            keep("compare", engine, values)
    rows = [row for row in found["results"] if row["ratio"]]
    failed = fail_above is not None and any(row["ratio"]["value"] > fail_above for row in rows)
    if fail_above is not None:
        found["gate"] = {"fail_above": fail_above, "met": not failed}
    if as_json:
        common.print_json(found)
    else:
        _print(found)
    return common.EXIT_BUDGET if failed else 0


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
    for note in found["notes"]:
        say(f"note: {note}", fg="yellow")
    gate = found.get("gate")
    if gate is not None and not gate["met"]:
        say(f"the gate was NOT passed: one takes more than {gate['fail_above']:g} times as long", fg="red")
