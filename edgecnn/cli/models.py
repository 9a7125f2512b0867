"""`edgecnn models`."""

from __future__ import annotations

import click

from edgecnn.cli.common import common, print_json, print_table


@click.command("models")
@common
def command(as_json: bool) -> None:
    """List the networks."""
    from edgecnn.zoo.catalog import ARCHITECTURES

    rows = list(ARCHITECTURES)
    if as_json:
        print_json(
            {
                "models": [
                    {
                        "name": row.name,
                        "aliases": list(row.aliases),
                        "family": row.family,
                        "year": row.year,
                        "paper": row.paper,
                        "resolution": row.resolution,
                        "imagenet": row.imagenet,
                    }
                    for row in rows
                ]
            }
        )
        return
    print_table(
        ["name", "year", "input", "weights", "paper"],
        [
            [
                " = ".join((row.name, *row.aliases)),
                str(row.year),
                str(row.resolution),
                {True: "offline", False: "hub"}[row.imagenet.startswith("package:")] if row.imagenet else "-",
                row.paper,
            ]
            for row in rows
        ],
        text=(0, 3, 4),
    )
