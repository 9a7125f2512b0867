"""Plots as files: checked before the work, written whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import files
from edgecnn.errors import InvalidValueError
from edgecnn.lazy import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")


def check(path: Path) -> None:
    """Raise InvalidValueError, OutputError or MissingPackageError if no plot can be written to a path."""
    if path.suffix.lower() not in _SUFFIXES:
        raise InvalidValueError(
            f"a plot cannot be written as {path.name!r}", hint=f"end its name in {', '.join(_SUFFIXES)}"
        )
    files.check_writable(path)
    require("matplotlib", "drawing a plot")


def write(figure: Figure, path: Path) -> None:
    """Write a figure in the format that its name says; the same figure gives the same file."""
    import matplotlib

    suffix = path.suffix.lower()
    content = io.BytesIO()
    dates: dict[str, dict[str, Any]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    # Text stays text in an SVG.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgecnn"}):
        figure.savefig(content, format=suffix[1:], dpi=150, metadata=dates[suffix])
    files.write_atomic(path, content.getvalue())
