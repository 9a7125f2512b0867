"""`edgecnn profile`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn import figure
from edgecnn.cli import common, request_options
from edgecnn.cli.on_board import BoardPath
from edgecnn.cli.profile_boards import ProfileCommand
from edgecnn.cli.profile_details import log_folder, print_scenario, scenario
from edgecnn.cli.profile_table import show
from edgecnn.cli.store_results import keep, store_option
from edgecnn.cli.terminal import say
from edgecnn.errors import InvalidValueError
from edgecnn.measure.measure_options import ProfileRequest

if TYPE_CHECKING:
    from edgecnn.verbs.profile import Profiled

#: Options that only a scenario heeds, and those that only the latency does.
_OF_SCENARIO, _OF_LATENCY = ("qps", "latency_bound", "log_dir"), ("layers", "plot", "backend")


def _outputs(
    models: tuple[str, ...], plot: Path | None, scenario: str | None, log_dir: Path | None, **_: Any
) -> list[Path]:
    if scenario is None:
        return [] if plot is None else [plot]
    from edgecnn.measure.latency.mlperf_loadgen import log_files

    return log_files(log_folder(models, scenario, log_dir))


@click.command("profile", cls=ProfileCommand, outputs=_outputs)
@click.argument("models", type=BoardPath(sent=True), nargs=-1, required=True)
@request_options.options(ProfileRequest)
@click.option("--pin-clocks", is_flag=True, help="Pin clocks and governor while measuring; put them back.")
@click.option(
    "--power-mode", help="Power mode of a Jetson board, by name, with --pin-clocks  [the present one]."
)
@store_option
@click.option(
    "--plot",
    type=BoardPath(fetched=True, path_type=Path),
    help="Plot of layers and roofline, or of latency against several batches: FILE.png, .svg, .pdf.",
)
@click.option(
    "--scenario",
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
    pin_clocks: bool,
    power_mode: str | None,
    as_json: bool,
    **values: Any,
) -> None:
    """Measure latency and throughput of MODELS; several take turns, so that they meet the same machine."""
    if power_mode and not pin_clocks:
        raise click.UsageError("--power-mode belongs to --pin-clocks")
    with _pinned(power_mode) if pin_clocks else contextlib.nullcontext():
        _measure(models, values, as_json)


@contextlib.contextmanager
def _pinned(power_mode: str | None) -> Iterator[None]:
    """Bring the machine into a known state, and say what was done and what could not be."""
    from edgecnn.devices.machine_state import prepare

    with prepare(power_mode) as state:
        for line in state.done:
            say(f"pinned: {line}", err=True)
        for line in state.could_not:
            say(f"could not pin_clocks: {line}", fg="yellow", err=True)
        yield
    for line in state.not_restored:
        say(f"could not put back: {line}", fg="red", err=True)


def _measure(models: tuple[str, ...], values: dict[str, Any], as_json: bool) -> None:
    name = values.pop("scenario")
    _refuse(values, _OF_LATENCY if name else _OF_SCENARIO, name)
    of_command = {key: values.pop(key) for key in (*_OF_SCENARIO, "plot", "no_store")}
    plot = of_command["plot"]
    sweep = "," in (values["batch"] or "")
    values["layers"] = values["layers"] or (plot is not None and not sweep)
    request = request_options.request(ProfileRequest, values, models=models)
    if name is not None:
        found = scenario(request, name, of_command)
        if as_json:
            common.print_json(found)
        else:
            print_scenario(found)
        return
    if plot is not None:
        if len(models) > 1:
            raise InvalidValueError("--plot draws one model", hint="run it once for each")
        figure.check(plot)
    from edgecnn.verbs.profile import profile_models

    with common.progress(None) as tell:
        done = profile_models(request, tell)
    results = done.results()
    if plot is not None:
        _draw(done, plot)
    if not of_command["no_store"]:
        for latency, row in zip(done.latencies, results, strict=True):
            keep("profile", latency.engine, row, latency.samples * 1e3)
    if as_json:
        common.print_json(done.to_json(), plot=plot)
    else:
        show(results, done.swept())


def _refuse(values: dict[str, Any], names: tuple[str, ...], scenario_name: str | None) -> None:
    """Raise InvalidValueError for an option that would say nothing here."""
    for name in names:
        if values[name]:
            raise InvalidValueError(
                f"`{name}` says nothing {'in a scenario' if scenario_name else 'without --scenario'}",
                hint="leave it out" if scenario_name else "add --scenario server",
            )


def _draw(done: Profiled, path: Path) -> None:
    from edgecnn.measure.latency import batch_plot
    from edgecnn.measure.layers import layers_plot

    if done.sweeps:
        batch_plot.draw(done.sweeps[0], path)
    else:
        layers_plot.draw(done.layers[0], done.rooflines[0], done.latencies[0].engine.path.name, path)
