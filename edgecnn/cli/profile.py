"""`edgecnn profile`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common
from edgecnn.cli.engines import backend_option, opened
from edgecnn.cli.on import BoardPath
from edgecnn.cli.profile_boards import ProfileCommand
from edgecnn.cli.profile_details import facts, print_layers, print_scenario, scenario
from edgecnn.cli.results import keep, store_option
from edgecnn.errors import InvalidValueError

if TYPE_CHECKING:
    from edgecnn.measure.latency import Latency
    from edgecnn.measure.layers import LayerProfile
    from edgecnn.measure.roofline import Roofline

#: Options that only a scenario heeds, and those that only the latency does.
_OF_SCENARIO = {"qps": "--qps", "latency_bound": "--latency-bound", "log_dir": "--log-dir"}
_OF_LATENCY = {"layers": "--layers", "plot": "--plot", "backend": "--backend"}


@click.command("profile", cls=ProfileCommand)
@click.argument("models", type=BoardPath(sent=True), nargs=-1, required=True)
@click.option("--batch", type=click.IntRange(1), help="Images per inference  [1, or the model's].")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads  [the library's choice].")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 3600), default=3.0, show_default=True, help="Time per model."
)
@click.option("--prepare", is_flag=True, help="Pin clocks and governor while measuring, and put them back.")
@click.option("--power-mode", help="Of a Jetson board, by name, with --prepare  [the present one].")
@backend_option
@store_option
@click.option("--layers", is_flag=True, help="Where the time goes, by the network's layers.")
@click.option(
    "--plot",
    type=BoardPath(fetched=True, path_type=Path),
    help="Draw layers and roofline: .png, .svg, .pdf.",
)
@click.option(
    "--scenario",
    "scenario_name",
    type=click.Choice(["single-stream", "multi-stream", "offline", "server"]),
    help="Measure by MLPerf's LoadGen, in this scenario.",
)
@click.option("--qps", type=click.FloatRange(0, min_open=True), help="Rate of a server  [the highest valid].")
@click.option(
    "--latency-bound",
    type=click.FloatRange(0, min_open=True),
    help="Milliseconds that a server keeps for 99 % of its queries  [15].",
)
@click.option(
    "--log-dir", type=BoardPath(fetched=True, path_type=Path), help="LoadGen's logs  [MODEL-SCENARIO-logs]."
)
@common.common
def command(
    models: tuple[str, ...],
    batch: int | None,
    threads: int,
    device: str,
    seconds: float,
    prepare: bool,
    power_mode: str | None,
    no_store: bool,
    scenario_name: str | None,
    as_json: bool,
    **details: Any,
) -> None:
    """Measure latency and throughput of MODELS; several take turns, so that they meet the same machine."""
    if power_mode and not prepare:
        raise click.UsageError("--power-mode belongs to --prepare")
    with _prepared(power_mode) if prepare else contextlib.nullcontext():
        _command(models, batch, threads, device, seconds, no_store, scenario_name, as_json, details)


@contextlib.contextmanager
def _prepared(power_mode: str | None) -> Iterator[None]:
    """Bring the machine into a known state, and say what was done and what could not be."""
    from edgecnn.devices.prepare import prepare

    with prepare(power_mode) as state:
        for line in state.done:
            click.echo(f"prepared: {line}", err=True)
        for line in state.could_not:
            click.secho(f"could not prepare: {line}", fg="yellow", err=True)
        yield
    for line in state.not_restored:
        click.secho(f"could not put back: {line}", fg="red", err=True)


def _command(
    models: tuple[str, ...],
    batch: int | None,
    threads: int,
    device: str,
    seconds: float,
    no_store: bool,
    scenario_name: str | None,
    as_json: bool,
    details: dict[str, Any],
) -> None:
    loading = {"device": device, "threads": threads}
    _refuse(details, _OF_LATENCY if scenario_name else _OF_SCENARIO, scenario_name)
    if scenario_name is not None:
        bound = {} if details["latency_bound"] is None else {"latency_ms": details["latency_bound"]}
        options = {"batch": batch, "seconds": seconds, "qps": details["qps"], **bound}
        found = scenario(models, scenario_name, details["log_dir"], loading, **options)
        if as_json:
            common.print_json(found)
        else:
            print_scenario(found)
        return
    results = _measure(
        models, loading, batch, seconds, no_store, details["layers"], details["plot"], details["backend"]
    )
    if as_json:
        common.print_json(results[0] if len(results) == 1 else {"results": results})
    else:
        show(results)


def show(results: list[dict[str, Any]]) -> None:
    """Print results as they stand in JSON; with the key "on" they are of several machines."""
    several = "on" in results[0]
    columns = [
        *(["on"] if several else []),
        "model",
        "precision",
        "size",
        "MACs",
        "parity",
        "agreement",
        "p50 ms",
        "p90 ms",
        "p99 ms",
    ]
    with_energy = any(item["joules_per_image"] is not None for item in results)
    columns += ["images/s", *(["mJ/image"] if with_energy else [])]
    common.print_table(
        columns, [_row(item, with_energy) for item in results], text=(0, 1, 2) if several else (0, 1)
    )
    for machine in dict.fromkeys(item.get("on") for item in results):
        if machine is not None:
            click.echo(f"\n{machine}")
        conditions = [facts(item["conditions"]) for item in results if item.get("on") == machine]
        shown = [(key, dict.fromkeys(of[key] for of in conditions if of[key])) for key in conditions[0]]
        common.print_facts([(key, "; ".join(told)) for key, told in shown if told])
    _print_rooflines(results)
    for item in results:
        if "layers" in item:
            print_layers(item)
    for note in dict.fromkeys(note for item in results for note in item["notes"]):
        click.secho(f"note: {note}", fg="yellow")


def _refuse(details: dict[str, Any], names: dict[str, str], scenario_name: str | None) -> None:
    """Raise InvalidValueError for an option that would say nothing here."""
    for key, option in names.items():
        if details[key]:
            raise InvalidValueError(
                f"{option} says nothing {'in a scenario' if scenario_name else 'without --scenario'}",
                hint="leave it out" if scenario_name else "add --scenario server",
            )


def _measure(
    models: tuple[str, ...],
    loading: dict[str, Any],
    batch: int | None,
    seconds: float,
    no_store: bool,
    layers: bool,
    plot: Path | None,
    backend: str | None,
) -> list[dict[str, Any]]:
    """Return the results of the models, with where they stand under the roof."""
    from edgecnn import figure
    from edgecnn.measure.latency import profile
    from edgecnn.measure.layers import profile_layers
    from edgecnn.measure.roofline import roofline

    if plot is not None:
        if len(models) > 1:
            raise InvalidValueError("--plot draws one model", hint="run it once for each")
        figure.check(plot)
    with common.progress(None) as show, opened(models, backend, show, **loading) as engines:
        measured = profile(engines, batch=batch, seconds=seconds, progress=show)
        details = (
            [profile_layers(engine, batch=batch, seconds=seconds, progress=show) for engine in engines]
            if layers or plot is not None
            else []
        )
    rooflines = [roofline(item) for item in measured]
    if plot is not None:
        _draw(measured[0], details[0], rooflines[0], plot)
    results = [
        {**item.to_json(), "path": model, "roofline": found.to_json() if found else None}
        for model, item, found in zip(models, measured, rooflines, strict=True)
    ]
    for item, detail in zip(results, details, strict=False):
        item.update(detail.to_json())
    if not no_store:
        for latency, values in zip(measured, results, strict=True):
            keep("profile", latency.engine, values, latency.samples * 1e3)
    return results


def _draw(measured: Latency, layers: LayerProfile, found: Roofline | None, path: Path) -> None:
    from edgecnn.measure.layers_plot import draw

    draw(layers, found, measured.engine.path.name, path)


def _print_rooflines(results: list[dict[str, Any]]) -> None:
    from edgecnn.measure.roofline import HOW_TO_KNOW, Roofline

    for item in results:
        if item["roofline"] is not None:
            on = f" on {item['on']}" if "on" in item else ""
            click.echo(f"{item['path']}{on} {Roofline(**item['roofline'])}")
    if any(item["roofline"] is None for item in results):
        click.echo(HOW_TO_KNOW)


def _row(item: dict[str, Any], with_energy: bool) -> list[str]:
    parity, latency, joules = item["parity"], item["latency_ms"], item["joules_per_image"]
    target = f" ({item['target']})" if item["precision"] == "int8" else ""
    return [
        *([item["on"]] if "on" in item else []),
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
