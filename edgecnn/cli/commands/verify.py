"""`edgecnn verify`."""

from __future__ import annotations

from pathlib import Path

import click

from edgecnn.cli import common
from edgecnn.cli.terminal import as_options, say


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--code", help="Code of your own network, FILE.py:FUNCTION: it runs only where it is named.")
@common.common
def command(file: Path, code: str | None, as_json: bool) -> int:
    """Run again what made FILE, and say whether the same bytes come.

    What it was made from is looked for in its folder, by hash. Training is not repeated. Exit code 3 if a
    step gives other bytes.
    """
    from edgecnn.verify import verify

    with common.progress(None) as show:
        found = verify(file, show, code=code)
    if as_json:
        common.print_json(found.to_json())
    else:
        rows = [[answer.step, answer.verdict, as_options(answer.detail)] for answer in found.answers]
        common.print_table(["step", "", "why"], rows, text=(0, 1, 2))
        if found.proven is None:
            say("whether this file came of them is not proven")
    return 3 if found.differs else 0
