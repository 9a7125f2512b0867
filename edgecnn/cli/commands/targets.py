"""`edgecnn targets`."""

from __future__ import annotations

import dataclasses
import fnmatch

import click

from edgecnn.cli.common import common, print_json, print_table
from edgecnn.cli.terminal import say


@click.command("targets")
@click.argument("pattern", default="*")
@common
def command(pattern: str, as_json: bool) -> None:
    """List what --target takes, all or those whose name matches PATTERN ("jetson*", or a part of the name).

    Rates are published dense peaks; none stand beside a class of machines.
    """
    from edgecnn.targets import TARGETS

    rows = [row for row in TARGETS if fnmatch.fnmatch(row.name, pattern) or pattern in row.name]
    if as_json:
        # Of the scheme what a file of it is like, without the rules for where its pairs stand.
        fields = ("name", "activation", "symmetric", "quantize_bias", "weight_bits")
        listed = [
            {**dataclasses.asdict(row), "scheme": {name: getattr(row.scheme, name) for name in fields}}
            for row in rows
        ]
        print_json({"targets": listed})
        return
    if not rows:
        say("no target is like that; edgecnn targets lists all")
        return
    print_table(
        ["name", "device", "engine", "int8 form", "int8 TOPS", "fp16 TFLOPS", "GB/s", "power modes"],
        [
            [
                row.name,
                row.title,
                row.backend,
                row.scheme.name + ("" if row.scheme.weight_bits == 8 else f", {row.scheme.weight_bits} bits"),
                _rate(row.int8_tops),
                _rate(row.fp16_tflops),
                _rate(row.bandwidth_gbs),
                " ".join(row.power_modes) or "-",
            ]
            for row in rows
        ],
        text=(0, 1, 2, 3, 7),
    )


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
