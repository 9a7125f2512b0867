"""`edgecnn profile`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.cli import common
from edgecnn.cli.batches import Batches
from edgecnn.cli.engines import backend_option, opened
from edgecnn.cli.on import BoardPath
from edgecnn.cli.profile_boards import ProfileCommand
from edgecnn.cli.profile_details import log_folder, print_scenario, scenario
from edgecnn.cli.profile_table import show
from edgecnn.cli.results import keep, store_option
from edgecnn.cli.terminal import say
from edgecnn.errors import InvalidValueError

if TYPE_CHECKING:
    from edgecnn.measure.batch_sweep import BatchSweep
    from edgecnn.measure.latency import Latency
    from edgecnn.measure.layers import LayerProfile
    from edgecnn.measure.roofline import Roofline

#: Options that only a scenario heeds, and those that only the latency does.
_OF_SCENARIO = {"qps": "--qps", "latency_bound": "--latency-bound", "log_dir": "--log-dir"}
_OF_LATENCY = {"layers": "--layers", "plot": "--plot", "backend": "--backend"}


def _outputs(
    models: tuple[str, ...], plot: Path | None, scenario_name: str | None, log_dir: Path | None, **_: Any
) -> list[Path]:
    if scenario_name is None:
        return [] if plot is None else [plot]
    from edgecnn.measure.loadgen import log_files

    return log_files(log_folder(models, scenario_name, log_dir))


@click.command("profile", cls=ProfileCommand, outputs=_outputs)
@click.argument("models", type=BoardPath(sent=True), nargs=-1, required=True)
@click.option("--batch", type=Batches(), help="Images per inference: 8, or 1,2,4,8  [1, or the model's].")
@click.option("--threads", type=click.IntRange(0), default=0, help="CPU threads  [the library's choice].")
@click.option("--device", default="auto", show_default=True, help="Device: auto, cpu, cuda.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 3600), default=3.0, show_default=True, help="Time per model."
)
@click.option("--prepare", is_flag=True, help="Pin clocks and governor while measuring, and put them back.")
@click.option(
    "--power-mode", help="Power mode of a Jetson board, by name, with --prepare  [the present one]."
)
@backend_option
@store_option
@click.option("--layers", is_flag=True, help="Where the time goes, by the network's layers.")
@click.option(
    "--plot",
    type=BoardPath(fetched=True, path_type=Path),
    help="Plot of layers and roofline, or of latency against several batches: FILE.png, .svg, .pdf.",
)
@click.option(
    "--scenario",
    "scenario_name",
    type=click.Choice(["single-stream", "multi-stream", "offline", "server"]),
    help="Scenario of MLPerf's LoadGen to measure in.",
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
    batch: tuple[int, ...] | None,
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
            say(f"prepared: {line}", err=True)
        for line in state.could_not:
            say(f"could not prepare: {line}", fg="yellow", err=True)
        yield
    for line in state.not_restored:
        say(f"could not put back: {line}", fg="red", err=True)


def _command(
    models: tuple[str, ...],
    batch: tuple[int, ...] | None,
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
        if batch is not None and len(batch) > 1:
            raise InvalidValueError("a scenario takes one batch", hint="run it once for each")
        options = {"batch": batch and batch[0], "seconds": seconds, "qps": details["qps"], **bound}
        found = scenario(models, scenario_name, details["log_dir"], loading, **options)
        if as_json:
            common.print_json(found)
        else:
            print_scenario(found)
        return
    results, sweeps = _measure(
        models, loading, batch, seconds, no_store, details["layers"], details["plot"], details["backend"]
    )
    if as_json:
        several = {"results": results, **({"sweeps": sweeps} if sweeps else {})}
        common.print_json(results[0] if len(results) == 1 else several, plot=details["plot"])
    else:
        show(results, sweeps)


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
    batch: tuple[int, ...] | None,
    seconds: float,
    no_store: bool,
    layers: bool,
    plot: Path | None,
    backend: str | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the results of the models, where they stand under the roof, and what several batches tell."""
    from edgecnn import figure
    from edgecnn.measure.batch_sweep import sweeps
    from edgecnn.measure.latency import profile
    from edgecnn.measure.layers import profile_layers
    from edgecnn.measure.roofline import roofline

    if plot is not None:
        if len(models) > 1:
            raise InvalidValueError("--plot draws one model", hint="run it once for each")
        figure.check(plot)
    sweep = batch is not None and len(batch) > 1
    with common.progress(None) as tell, opened(models, backend, tell, **loading) as engines:
        measured = profile(engines, batch=batch, seconds=seconds, progress=tell)
        details = (
            [
                profile_layers(item.engine, batch=item.batch, seconds=seconds, progress=tell)
                for item in measured
            ]
            if layers or (plot is not None and not sweep)
            else []
        )
    typed = {id(engine): model for engine, model in zip(engines, models, strict=True)}
    rooflines = [roofline(item) for item in measured]
    swept = sweeps(measured) if sweep else []
    if plot is not None:
        if swept:
            _draw_sweep(swept[0], plot)
        else:
            _draw(measured[0], details[0], rooflines[0], plot)
    results = [
        {**item.to_json(), "path": typed[id(item.engine)], "roofline": found.to_json() if found else None}
        for item, found in zip(measured, rooflines, strict=True)
    ]
    for item, detail in zip(results, details, strict=False):
        item.update(detail.to_json())
    if not no_store:
        for latency, values in zip(measured, results, strict=True):
            keep("profile", latency.engine, values, latency.samples * 1e3)
    return results, [{**item.to_json(), "path": typed[id(item.best.engine)]} for item in swept]


def _draw_sweep(sweep: BatchSweep, path: Path) -> None:
    from edgecnn.measure.batch_plot import draw

    draw(sweep, path)


def _draw(measured: Latency, layers: LayerProfile, found: Roofline | None, path: Path) -> None:
    from edgecnn.measure.layers_plot import draw

    draw(layers, found, measured.engine.path.name, path)
