"""Draw docs/architecture.svg from the linter's layers: `make house` does it anew.

What stands in a box is the first sentence of the package's docstring: the drawing says what the code says.
"""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import tomlkit

ROOT = Path(__file__).parents[2]
DRAWING = ROOT / "docs" / "architecture.svg"

#: Pixels.
WIDTH, MARGIN, GAP, PADDING = 960, 24, 10, 12
LABEL, LINE = 21, 16
#: Of a letter, in the font of a box's text.
LETTER = 6.15
FONT = "font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
#: Fill, edge and text of the boxes of each side, by a light and a dark scheme.
COLOURS = {
    "device": (("#e3f4ea", "#2e8b57", "#14301f"), ("#12301f", "#46b078", "#dff5e8")),
    "desk": (("#e6eefb", "#3b6fc4", "#14233f"), ("#14233f", "#6c9bea", "#e3ecfb")),
    "core": (("#f3efe6", "#9a8654", "#33290f"), ("#2f2918", "#c0aa70", "#f6f0e0")),
}
WORDS = {
    "desk": "desk",
    "device": "device: neither torch nor onnx",
    "core": "core: standard library and numpy",
}


@dataclass(frozen=True)
class Box:
    """A package, or the modules of the core."""

    name: str
    side: str
    text: str
    #: Its sub-folders.
    rooms: tuple[str, ...] = ()


def layers(root: Path = ROOT) -> list[list[Box]]:
    """Return the layers from the top down, each with its packages; the modules of the core are one."""
    contracts = tomlkit.parse((root / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ].unwrap()
    rows = [
        [name.strip().removeprefix("edgecnn.") for name in re.split("[|:]", line)]
        for line in next(contract for contract in contracts if contract["type"] == "layers")["layers"]
    ]
    by_name = {contract["name"]: contract for contract in contracts}
    device = {
        name.removeprefix("edgecnn.")
        for name in by_name["The device side needs neither torch nor onnx"]["source_modules"]
    }
    drawn: list[list[Box]] = []
    core: list[str] = []
    for row in rows:
        packages = [name for name in row if (root / "edgecnn" / name).is_dir()]
        if packages or not (drawn and _all_core(root, row, rows)):
            drawn.append([_package(root, name, "device" if name in device else "desk") for name in row])
        else:
            core += row
    return [*drawn, [Box("core", "core", ", ".join(sorted(core)))]]


def _all_core(root: Path, row: list[str], rows: list[list[str]]) -> bool:
    """Return whether a layer of modules lies below every layer that has a package."""
    below = rows[rows.index(row) :]
    return not any((root / "edgecnn" / name).is_dir() for line in below for name in line)


def _package(root: Path, name: str, side: str) -> Box:
    path = root / "edgecnn" / name
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    first = (ast.get_docstring(ast.parse(source.read_text())) or "").split("\n\n")[0]
    sentence = re.split(r"(?<=[a-z)])\. ", " ".join(first.replace("`", "").split()))[0].rstrip(".")
    rooms = tuple(sorted(room.parent.name for room in path.glob("*/__init__.py")))
    return Box(f"{name}/" if path.is_dir() else f"{name}.py", side, sentence, rooms)


def draw(root: Path = ROOT) -> str:
    """Return the drawing."""
    y, parts = MARGIN + 34, []
    for row in layers(root):
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        wrapped = [textwrap.wrap(box.text, int((width - 2 * PADDING) / LETTER)) for box in row]
        height = 2 * PADDING + LABEL + LINE * max(map(len, wrapped)) - 2
        for index, (box, lines) in enumerate(zip(row, wrapped, strict=True)):
            x = MARGIN + index * (width + GAP)
            parts.append(_box(box, lines, x, y, width, height))
        y += height + GAP
    body = "\n".join([*_legend(), *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + MARGIN - GAP:g}" role="img"'
        f' aria-label="The layers of edgecnn">\n<style>\n{_style()}\n</style>\n'
        f'<rect class="page" width="100%" height="100%"/>\n{body}\n</svg>\n'
    )


def _legend() -> list[str]:
    parts, x = [], float(MARGIN)
    for side, words in WORDS.items():
        parts.append(
            f'<rect class="{side}" x="{x:g}" y="{MARGIN - 4}" width="14" height="14" rx="3"/>'
            f'<text class="quiet" x="{x + 20:g}" y="{MARGIN + 8}">{escape(words)}</text>'
        )
        x += 48 + LETTER * len(words)
    end = WIDTH - MARGIN
    return [
        *parts,
        f'<text class="quiet" x="{end - 18}" y="{MARGIN + 8}" text-anchor="end">imports point down</text>'
        f'<path class="arrow" d="M {end - 6} {MARGIN - 4} v 13 m -4 -4 l 4 4 l 4 -4"/>',
    ]


def _box(box: Box, lines: list[str], x: float, y: float, width: float, height: float) -> str:
    text = "".join(
        f'<text class="{box.side}-text" x="{x + PADDING:g}" y="{y + PADDING + LABEL + LINE * number + 8:g}">'
        f"{escape(line)}</text>"
        for number, line in enumerate(lines)
    )
    right = x + width - PADDING
    for room in reversed(box.rooms):
        wide = 18 + 6.9 * len(room)
        text += (
            f'<rect class="{box.side} room" x="{right - wide:g}" y="{y + 7:g}"'
            f' width="{wide:g}" height="20" rx="10"/>'
            f'<text class="{box.side}-text" x="{right - wide / 2:g}" y="{y + 21:g}"'
            f' text-anchor="middle">{escape(room)}</text>'
        )
        right -= wide + 6
    return (
        f'<rect class="{box.side}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'
        f'<text class="{box.side}-text name" x="{x + PADDING:g}" y="{y + PADDING + 11:g}">'
        f"{escape(box.name)}</text>{text}"
    )


def _style() -> str:
    def colours(scheme: int) -> str:
        return "\n".join(
            f".{side} {{ fill: {fill}; stroke: {edge} }} .{side}-text {{ fill: {text} }}"
            for side, schemes in COLOURS.items()
            for fill, edge, text in [schemes[scheme]]
        )

    dark = f".page {{ fill: #0d1117 }} .quiet {{ fill: #9aa7b5 }} .arrow {{ stroke: #9aa7b5 }}\n{colours(1)}"
    return (
        f"text {{ {FONT}; font-size: 12px }} .name {{ font-size: 14px; font-weight: 600 }}\n"
        f".page {{ fill: #ffffff }} .quiet {{ fill: #57606a }}\n"
        f".arrow {{ stroke: #57606a; stroke-width: 1.5; fill: none }}\n{colours(0)}\n.room {{ fill: none }}\n"
        f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}"
    )


def main() -> None:
    """Write the drawing."""
    DRAWING.write_text(draw())


if __name__ == "__main__":
    main()
