"""`edgecnn info FOLDER`: what images there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.cli import common
from edgecnn.cli.terminal import note

if TYPE_CHECKING:
    from edgecnn.data.folder_contents import Inspection

#: Broken images and groups of copies that are named.
_NAMED = 3


def show(folder: str, plot: Path | None, as_json: bool) -> None:
    """Inspect a folder of images, draw the sheet that is asked for, and print what was found."""
    from edgecnn import figure
    from edgecnn.data.folder_contents import draw_sheet, inspect

    if plot is not None:
        figure.check(plot)
    with common.progress(None) as tell:
        found = inspect(folder, progress=tell)
        if plot is not None:
            draw_sheet(found, plot)
    if as_json:
        common.print_json(found.to_json(), plot=plot)
        return
    if found.class_counts:
        _print_classes(found)
    common.print_facts([*_facts(found), *([("plot", str(plot))] if plot else [])])
    for remark in found.notes:
        note(remark)


def _print_classes(found: Inspection) -> None:
    parts = list(found.split or {})
    rows = [
        [name, str(count), *(str((found.split or {})[part].get(name, 0)) for part in parts)]
        for name, count in found.class_counts.items()
    ]
    common.print_table(["class", found.counted, *parts], rows, text=(0,))


def _facts(found: Inspection) -> list[tuple[str, str]]:
    count = len(found.files)
    facts = [("folder", f"{found.path}  ({count} image{'s' * (count != 1)}, {common.size(found.bytes)})")]
    if found.sizes:
        smallest, median, largest = (f"{width} x {height}" for width, height in found.sizes)
        facts.append(("sizes", f"{smallest} to {largest} pixels, median {median}"))
        facts.append(("colours", ", ".join(f"{number} {mode}" for mode, number in found.modes.items())))
    if found.split:
        totals = (f"{images} {part}" for part, images in found.parts.items())
        facts.append(("split", f"{', '.join(totals)} (seed 0)"))
    copies = sum(len(group) - 1 for group in found.duplicates)
    named = "; ".join(" = ".join(group[:2]) for group in found.duplicates[:_NAMED])
    facts.append(("copies", f"{copies}: {named}" if copies else "none"))
    facts.append(("broken", str(len(found.broken)) if found.broken else "none"))
    return facts + [("", reason) for _, reason in found.broken[:_NAMED]]
