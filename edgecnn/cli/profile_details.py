"""What `edgecnn profile` prints of layers and of LoadGen's scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgecnn.cli import common
from edgecnn.errors import InvalidValueError

#: Rows of the table of layers; `--json` has all.
_TOP = 15


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
    named = f"; {rest} more take {sum(layer['share'] for layer in slowest[_TOP:]):.1%}" if rest else ""
    click.echo(f"layers add up to {found['layers_over_latency']:.0%} of the latency{named}")


def scenario(
    models: Sequence[str], name: str, log_folder: Path | None, loading: dict[str, Any], **options: Any
) -> dict[str, Any]:
    """Run one of LoadGen's scenarios, and return its result."""
    from edgecnn.measure.loadgen import run_scenario
    from edgecnn.runtime import load

    if len(models) > 1:
        raise InvalidValueError("a scenario takes one model", hint="run it once for each")
    folder = log_folder or Path(f"{Path(models[0]).stem}-{name}-logs")
    with load(models[0], **loading) as engine, common.progress(None) as show:
        return run_scenario(engine, name, folder, progress=show, **options).to_json()


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
    for note in found["notes"]:
        click.secho(f"note: {note}", fg="yellow")
