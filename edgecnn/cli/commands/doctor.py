"""`edgecnn doctor`."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from edgecnn.cli import common
from edgecnn.cli.on_board import BoardCommand
from edgecnn.cli.terminal import say


@click.command("doctor", cls=BoardCommand)
@click.option(
    "--measure",
    is_flag=True,
    help="Measure how fast this processor and its memory are at best, for `profile` to compare with.",
)
@common.common
def command(measure: bool, as_json: bool) -> None:
    """Show what this machine has, which backends really work, and how to get what is missing."""
    from edgecnn.devices.this_machine import describe, examine
    from edgecnn.measure.layers import peaks

    with common.progress(None) as show:
        machine, checks = describe(), examine(show)
        limits = peaks.measure(show) if measure else {}
    if as_json:
        found: dict[str, Any] = {
            "machine": machine,
            "checks": [dataclasses.asdict(check) for check in checks],
        }
        if measure:
            found["peaks"] = {str(threads): dataclasses.asdict(row) for threads, row in limits.items()}
        common.print_json(found)
        return
    common.print_facts([(key, value) for key, value in machine.items() if value])
    mark = {True: "ok", False: "-"}
    common.print_table(
        ["", "", "version", "what"],
        [[mark[check.works], check.name, check.version or "", check.detail] for check in checks],
        text=(0, 1, 2, 3),
    )
    for threads, row in limits.items():
        rates = f"float32 {row.float32_gflops:.0f} GFLOP/s, int8 {row.int8_gops:.0f} GOP/s"
        say(f"at best, threads {threads}: {rates}, memory {row.bandwidth_gbs:.1f} GB/s")
    if limits:
        say(f"kept in {peaks.kept_in()}")
    remedies: dict[str, list[str]] = {}
    for check in checks:
        if not check.works and check.remedy:
            remedies.setdefault(check.remedy, []).append(check.name)
    for remedy, names in remedies.items():
        say(f"{remedy}   brings {', '.join(names)}")
