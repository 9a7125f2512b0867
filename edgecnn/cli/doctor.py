"""`edgecnn doctor`."""

from __future__ import annotations

import dataclasses

import click

from edgecnn.cli import common


@click.command("doctor")
@common.common
def command(as_json: bool) -> None:
    """Show what this machine has, which backends really work, and how to get what is missing."""
    from edgecnn.devices.local import describe, examine

    with common.progress(None) as show:
        machine, checks = describe(), examine(show)
    if as_json:
        common.print_json({"machine": machine, "checks": [dataclasses.asdict(check) for check in checks]})
        return
    common.print_facts([(key, value) for key, value in machine.items() if value])
    mark = {True: "ok", False: "-"}
    common.print_table(
        ["", "", "version", "what"],
        [[mark[check.works], check.name, check.version or "", check.detail] for check in checks],
        text=(0, 1, 2, 3),
    )
    remedies: dict[str, list[str]] = {}
    for check in checks:
        if not check.works and check.remedy:
            remedies.setdefault(check.remedy, []).append(check.name)
    for remedy, names in remedies.items():
        click.echo(f"{remedy}   brings {', '.join(names)}")
