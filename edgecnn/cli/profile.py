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
    columns = ["model", "precision", "size", "MACs", "parity", "agreement", "p50 ms", "p90 ms", "p99 ms"]
    with_energy = any(item["joules_per_image"] is not None for item in results)
    columns += ["images/s", *(["mJ/image"] if with_energy else [])]
    common.print_table(columns, [_row(item, with_energy) for item in results], text=(0, 1))
    facts = [_facts(item["conditions"]) for item in results]
    common.print_facts(
        [(key, "; ".join(dict.fromkeys(of[key] for of in facts))) for key in facts[0] if facts[0][key]]
    )
    for note in dict.fromkeys(note for item in results for note in item["notes"]):
        click.secho(f"note: {note}", fg="yellow")


def _facts(conditions: dict[str, Any]) -> dict[str, str]:
    """Return the conditions in groups, for people; "" is for what this machine does not have."""
    before, during = conditions["before"], conditions["during"]
    limits = [mhz for pair in conditions["cpu_limits_mhz"].values() for mhz in pair if mhz is not None]
    hottest = max(during["temperature_max_c"].items(), key=lambda item: item[1], default=None)
    busy, stolen = conditions["other_cores_busy"], conditions["stolen_cores"]
    clocks = [f"{name} {mhz:.0f} MHz" for name, mhz in during["clock_mean_mhz"].items()]
    return {
        "machine": _list(
            conditions["board"] or conditions["machine"],
            conditions["release"] or conditions["system"],
            conditions["power_mode"] and f"mode {conditions['power_mode']}",
            conditions["power_supply"] and f"on {conditions['power_supply']}",
        ),
        "cpu": _list(
            conditions["cpu"],
            f"cores {conditions['affinity']}",
            conditions["cpu_quota"] and f"{conditions['cpu_quota']:g} cores' time",
            conditions["governor"] and f"governor {conditions['governor']}",
            limits and f"{min(limits):.0f} to {max(limits):.0f} MHz",
        ),
        "gpu": _list(
            conditions["gpu"],
            conditions["driver"] and f"driver {conditions['driver']}",
            conditions["cuda"] and f"CUDA {conditions['cuda']}",
        ),
        "engine": _list(
            f"{conditions['backend']} on {conditions['device']}", f"threads: {conditions['threads']}"
        ),
        "batch": str(conditions["batch"]),
        "input": f"{conditions['input']}, transfers {conditions['transfers']}",
        "load": _list(
            before["load"] is not None and f"{before['load']:.2f} before",
            busy is not None and f"others kept {busy:.1f} cores busy",
            stolen is not None and stolen >= 0.1 and f"the host took {stolen:.1f} cores",
        ),
        "clocks": _list(*clocks) if len(clocks) <= 4 else f"{len(clocks)} of them, see --json",
        "hottest": f"{hottest[0]} {hottest[1]:.0f} °C" if hottest else "",
        "power": f"{during['watts']:.2f} W of {' + '.join(during['power_of'])}"
        if during["watts"] is not None
        else f"unknown ({'; '.join(during['why_no_power'])})",
    }


def _list(*parts: Any) -> str:
    return ", ".join(part for part in parts if part)


def _row(item: dict[str, Any], with_energy: bool) -> list[str]:
    parity, latency, joules = item["parity"], item["latency_ms"], item["joules_per_image"]
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
        *(["-" if joules is None else f"{joules * 1e3:.3g}"] if with_energy else []),
    ]
