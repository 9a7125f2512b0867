"""`edgecnn report`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from edgecnn.cli import common
from edgecnn.cli.terminal import note, say

#: Damaged results that are named.
_NAMED = 3


@click.command("report")
@click.argument("filters", metavar="[KEY=VALUE]...", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="report.html",
    show_default=True,
    help="Page to write.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Older results too, not only the newest under the same conditions.",
)
@common.common
def command(filters: tuple[str, ...], output: Path, everything: bool, as_json: bool) -> None:
    """Write stored results as one page that needs no network: accuracy, latency, size, energy, lineage.

    \b
    Filters, which must all be met:
      architecture, precision, backend, target, device, host, kind, path, sha256
      with * and ? in their values, and since=2026-01-31.
    \b
    edgecnn report
    edgecnn report 'architecture=mobilenet*' precision=int8 -o mobilenets.html
    """
    from edgecnn import report

    written = report.write(output, filters, everything=everything)
    if as_json:
        common.print_json({**dataclasses.asdict(written), "path": str(written.path)})
        return
    compared = f", and {written.comparisons} comparisons" if written.comparisons else ""
    common.print_facts(
        [
            ("wrote", f"{written.path}  ({common.size(written.bytes)})"),
            ("shows", f"{written.rows} of {written.results} results, of {written.files} files{compared}"),
        ]
    )
    for sentence in written.damaged[:_NAMED]:
        note(sentence)
    if more := written.damaged[_NAMED:]:
        say(f"note: and {len(more)} more", fg="yellow")
