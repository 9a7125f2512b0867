"""`edgecnn models`."""

from __future__ import annotations

import fnmatch
import re

import click

from edgecnn.cli.common import amount, common, print_json, print_table
from edgecnn.cli.terminal import say

#: In the order of the list.
TASKS = ("classification", "detection", "segmentation")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


class _Amount(click.ParamType):
    """A number with an optional unit: 300M, 4.1G."""

    name = "amount"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgKMG]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is no amount; write 300M or 4.1G", param, ctx)
        return float(found[1]) * _UNITS[found[2].lower()]


@click.command("models")
@click.argument("pattern", default="*")
@click.option("--family", help="Family to list.")
@click.option("--task", type=click.Choice(TASKS), help="Task of the networks to list.")
@click.option("--max-macs", type=_Amount(), help="Most multiply-accumulates, 300M for instance.")
@click.option("--max-params", type=_Amount(), help="Most parameters.")
@common
def command(
    pattern: str,
    family: str | None,
    task: str | None,
    max_macs: float | None,
    max_params: float | None,
    as_json: bool,
) -> None:
    """List the networks, all or those whose name matches PATTERN ("mobile*", or a part of the name)."""
    from edgecnn.errors import UnknownNameError
    from edgecnn.registry import suggest
    from edgecnn.zoo.catalog import ARCHITECTURES
    from edgecnn.zoo.counts import known

    counts = known()
    families = {row.family.lower(): row.family for row in ARCHITECTURES}
    if family is not None and family.lower() not in families:
        raise UnknownNameError(f"unknown family {family!r}", hint=suggest(family, list(families.values())))
    limits = {"macs": max_macs, "params": max_params}
    rows = [
        row
        for row in sorted(ARCHITECTURES, key=lambda row: (TASKS.index(row.task), row.year))
        if any(_matches(name, pattern) for name in (row.name, *row.aliases))
        and task in (None, row.task)
        and (family is None or row.family == families[family.lower()])
        and all(
            limit is None or counts.get(row.name, {}).get(key, float("inf")) <= limit
            for key, limit in limits.items()
        )
    ]
    if as_json:
        fields = [
            {
                "name": row.name,
                "aliases": list(row.aliases),
                "task": row.task,
                "family": row.family,
                "year": row.year,
                "paper": row.paper,
                "resolution": row.size.said,
                "imagenet": row.imagenet,
                "coco": row.coco,
                "backbone": row.backbone,
                **counts.get(row.name, {"params": None, "macs": None}),
            }
            for row in rows
        ]
        print_json({"models": fields})
        return
    if not rows:
        say("no network is like that; edgecnn models lists all")
        return
    print_table(
        ["name", "task", "year", "params", "MACs", "input", "weights", "paper"],
        [
            [
                " = ".join((row.name, *row.aliases)),
                row.task,
                str(row.year),
                amount(counts.get(row.name, {}).get("params")),
                amount(counts.get(row.name, {}).get("macs")),
                str(row.size.said),
                _weights(row.coco or row.imagenet),
                row.paper,
            ]
            for row in rows
        ],
        text=(0, 1, 6, 7),
    )


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatch(name, pattern) or pattern in name


#: Where weights come from, by how the catalogue says it.
_SOURCES = {"package": "offline", "torchvision": "torchvision", "hf": "hub"}


def _weights(source: str | None) -> str:
    if source is None:
        return "-"
    return _SOURCES[source.partition(":")[0]]
