"""XML of strangers: no entities of their own, no endless nesting, no more than a description needs."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

#: Elements within each other, and bytes of a file. A description of a picture has four levels.
_DEEPEST, _LONGEST = 64, 1 << 26


def parse(path: Path) -> ET.Element:
    """Return the outermost element of a file.

    Raises OSError, and ValueError for what is no XML, defines entities, is too long or too deeply nested.
    """
    with path.open("rb") as stream:
        text = stream.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError(f"it is longer than {_LONGEST >> 20} MiB")
    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise ValueError(f"it is no XML: {error}") from error
    return builder.close()


def _refuse(*_: object) -> NoReturn:
    raise ValueError("it defines entities")
