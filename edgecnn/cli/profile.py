"""`edgecnn profile`."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from edgecnn.cli import common
from edgecnn.cli.results import keep, store_option


@click.command("profile")
@click.argument("models", type=click.Path(), nargs=-1, required=True)
@click.option("--batch", type=click.IntRange(1), help="Images per inference  [1, or the model's].")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads  [the library's choice].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 3600), default=3.0, show_default=True, help="Time per model."
)
@store_option
@common.common
def command(
    models: tuple[str, ...],
    batch: int | None,
    threads: int,
    device: str,
    seconds: float,
    no_store: bool,
    as_json: bool,
) -> None:
    """Measure latency and throughput of MODELS; several take turns, so that they meet the same machine."""
    from edgecnn.measure.latency import profile
    from edgecnn.runtime import load

    with contextlib.ExitStack() as stack:
        engines = [stack.enter_context(load(model, device=device, threads=threads)) for model in models]
        with common.progress(None) as show:
            measured = profile(engines, batch=batch, seconds=seconds, progress=show)
    results = [item.to_json() for item in measured]
    if not no_store:
        for item, values in zip(measured, results, strict=True):
            keep("profile", item.engine, values, item.samples * 1e3)
    if as_json:
        common.print_json(results[0] if len(results) == 1 else {"results": results})
        return
    common.print_table(
        [
            "model",
            "precision",
            "size",
            "MACs",
            "parity",
            "agreement",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "images/s",
        ],
        [_row(item) for item in results],
        text=(0, 1),
    )
    conditions = [item["conditions"] for item in results]
    common.print_facts(
        [(key, ", ".join(dict.fromkeys(str(of[key]) for of in conditions))) for key in conditions[0]]
    )
    for note in dict.fromkeys(note for item in results for note in item["notes"]):
        click.secho(f"note: {note}", fg="yellow")


def _row(item: dict[str, Any]) -> list[str]:
    parity, latency = item["parity"], item["latency_ms"]
    target = f" ({item['target']})" if item["precision"] == "int8" else ""
    return [
        item["path"],
        f"{item['precision'] or '?'}{target}",
        common.size(item["bytes"]),
        common.amount(item["macs"]),
        common.decibels(parity["sqnr_db"]) if parity else "-",
        f"{parity['top1_agreement']:.0%}" if parity else "-",
        *(f"{latency[key]:.2f}" for key in ("p50", "p90", "p99")),
        f"{item['throughput_ips']:.0f}",
    ]
