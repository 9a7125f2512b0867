"""What `edgecnn profile` prints of layers and of LoadGen's scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.cli import common
from edgecnn.cli.terminal import note, say
from edgecnn.errors import InvalidValueError

if TYPE_CHECKING:
    from edgecnn.measure.measure_options import ProfileRequest

#: Rows of the table of layers; `--json` has all.
_TOP = 15


def named(found: dict[str, Any]) -> str:
    """Return what a result is of."""
    batch = found["conditions"]["batch"]
    return f"{found['path']} with batch {batch}" if batch > 1 else str(found["path"])


def print_transfers(found: dict[str, Any]) -> None:
    """Print how long the ways to the GPU and back take, where there are such ways."""
    parts = found["transfers_ms"]
    if parts is not None:
        say(
            f"{named(found)} took {parts['in']:.3f} ms in, {parts['compute']:.3f} ms to compute,"
            f" {parts['out']:.3f} ms out (medians)"
        )


def print_layers(found: dict[str, Any]) -> None:
    """Print the layers that take longest, and what all add up to."""
    slowest = sorted(found["layers"], key=lambda layer: -layer["ms"])
    rows = [
        [
            layer["name"],
            layer["operator"],
            f"{layer['ms']:.3f}",
            f"{layer['share']:.1%}",
            common.amount(layer["macs"]) if layer["macs"] else "-",
            f"{layer['gmacs_per_s']:.1f}" if layer["gmacs_per_s"] else "-",
        ]
        for layer in slowest[:_TOP]
    ]
    common.print_table(["layer", "kernel", "ms", "share", "MACs", "GMAC/s"], rows, text=(0, 1))
    rest = len(slowest) - len(rows)
    others = f"; {rest} more take {sum(layer['share'] for layer in slowest[_TOP:]):.1%}" if rest else ""
    say(f"{named(found)}: layers add up to {found['layers_over_latency']:.0%} of the latency{others}")


def log_folder(models: Sequence[str], scenario: str, chosen: Path | None) -> Path:
    """Return where LoadGen's logs go."""
    return chosen or Path(f"{Path(models[0]).stem}-{scenario}-logs")


def scenario(request: ProfileRequest, name: str, details: dict[str, Any]) -> dict[str, Any]:
    """Run one of LoadGen's scenarios, and return its result."""
    from edgecnn.measure.latency.mlperf_loadgen import run_scenario
    from edgecnn.runtime import load

    if len(request.models) > 1:
        raise InvalidValueError("a scenario takes one model", hint="run it once for each")
    if request.batch is not None and len(request.batch) > 1:
        raise InvalidValueError("a scenario takes one batch", hint="run it once for each")
    folder = log_folder(request.models, name, details["log_dir"])
    bound = {} if details["latency_bound"] is None else {"latency_ms": details["latency_bound"]}
    with (
        load(request.models[0], device=request.device, threads=request.threads) as engine,
        common.progress(None) as show,
    ):
        return run_scenario(
            engine,
            name,
            folder,
            batch=request.batch[0] if request.batch else None,
            seconds=request.seconds,
            qps=details["qps"],
            progress=show,
            choice=request.inputs.choice(),
            **bound,
        ).to_json()


def print_scenario(found: dict[str, Any]) -> None:
    """Print a scenario's result."""
    latency, loadgen = found["latency_ms"], found["loadgen"]
    facts = [("scenario", found["scenario"]), ("result", "valid" if found["valid"] else "NOT VALID")]
    if found["qps"] is not None:
        bound = f"99 % within {found['latency_bound_ms']:g} ms"
        tried = f", {len(found['trials'])} rates tried" if found["trials"] else ""
        facts.append(("rate", f"{found['qps']:.1f} queries/s, {bound}{tried}"))
    if latency:
        facts.append(("query", ", ".join(f"{key} {latency[key]:.2f} ms" for key in ("p50", "p90", "p99"))))
    facts += [
        ("throughput", f"{found['throughput_ips']:.0f} images/s, at most {found['batch']} per inference"),
        ("queries", str(found["n"])),
        ("LoadGen", f"{loadgen['version'].split()[0]}, logs in {found['log_folder']}"),
    ]
    common.print_facts(facts)
    for remark in found["notes"]:
        note(remark)


def facts(conditions: dict[str, Any]) -> dict[str, str]:
    """Return the conditions in groups, for people; "" is for what this machine does not have."""
    before, during = conditions["before"], conditions["during"]
    limits = [mhz for pair in conditions["cpu_limits_mhz"].values() for mhz in pair if mhz is not None]
    hottest = max(during["temperature_max_c"].items(), key=lambda item: item[1], default=None)
    busy, stolen = conditions["other_cores_busy"], conditions["stolen_cores"]
    clocks = [f"{name} {mhz:.0f} MHz" for name, mhz in during["clock_mean_mhz"].items()]
    return {
        "machine": _list(
            conditions["board"] or conditions["machine"],
            conditions["emulated"] and "emulated",
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
            conditions["cuda_graph"] is not None
            and ("by a CUDA graph" if conditions["cuda_graph"] else "without a CUDA graph"),
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
