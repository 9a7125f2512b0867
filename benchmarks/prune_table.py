"""Prune every network of the zoo to half its MACs, and write the table at the end of docs/pruning.md.

python benchmarks/prune_table.py
"""

from pathlib import Path

import torch

from edgecnn import zoo
from edgecnn.compress.prune.goal import Goal
from edgecnn.compress.prune.prune_network import prune
from edgecnn.errors import PruningError

PAGE = Path(__file__).parents[1] / "docs/pruning.md"
#: What stands in the page before the table.
MARK = "<!-- benchmarks/prune_table.py -->\n"
HEAD = """
| network | parameters | MACs | left of the parameters | of the MACs | or why not |
|---|--:|--:|--:|--:|---|
"""


def _classifiers() -> list[zoo.Architecture]:
    return [row for row in zoo.ARCHITECTURES if row.task == "classification"]


def line(row: zoo.Architecture) -> str:
    network = zoo.create(row.name)
    example = torch.zeros(1, row.in_channels, row.resolution, row.resolution)
    try:
        done = prune(network, example, goal=Goal.parse("macs", "0.5x"))
    except PruningError as error:
        return f"| `{row.name}` | | | | | {error} |\n"
    before, after = done.before, done.after
    return (
        f"| `{row.name}` | {before.params:,} | {before.macs:,} | {after.params / before.params:.3f}"
        f" | {after.macs / before.macs:.3f} | |\n"
    )


def main() -> None:
    lines = []
    for row in sorted(_classifiers(), key=lambda row: (row.family, row.year)):
        lines.append(line(row))
        print(lines[-1], end="", flush=True)
    text = PAGE.read_text()
    PAGE.write_text(text[: text.index(MARK)] + MARK + HEAD + "".join(lines))


if __name__ == "__main__":
    main()
