"""The page: rows, plotly.js and the scripts that draw, in one file that asks nothing of a network."""

from __future__ import annotations

import base64
import hashlib
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from edgecnn import __version__, files
from edgecnn.errors import InvalidValueError, StoreError
from edgecnn.measure import store
from edgecnn.optional_packages import require
from edgecnn.report.comparisons import comparisons
from edgecnn.report.rows import rows
from edgecnn.report.soundness import damage
from edgecnn.untrusted_text import visible

#: In the order in which they need each other.
_SCRIPTS = ("format.js", "rows.js", "charts.js", "tables.js", "comparisons.js", "main.js")


@dataclass(frozen=True)
class Report:
    """What was written."""

    path: Path
    bytes: int
    #: Results that meet the filters, rows that are shown of them, and the files that they are of.
    results: int
    rows: int
    files: int
    #: Comparisons that are shown beside them.
    comparisons: int
    #: A sentence for each result that could not be read.
    damaged: tuple[str, ...] = ()


def write(path: Path, filters: Sequence[str] = (), *, everything: bool = False) -> Report:
    """Write the results that meet all `filters` as one HTML page; `store.query` says what a filter is.

    Only the newest result of each file under the same settings is shown, unless `everything` is asked for.
    A result that is damaged is left out, and named. Raises StoreError without a store, InvalidValueError if
    nothing meets the filters, OutputError if the page cannot be written, MissingPackageError without plotly.
    """
    files.check_writable(path)
    require("plotly", "a report")
    stored, damaged = store.read(filters)
    wrong = {id(result): damage(result) for result in stored}
    damaged += [why for why in wrong.values() if why]
    found = [result for result in stored if not wrong[id(result)]]
    if not found and damaged:
        raise StoreError(damaged[0], hint="move the store away, and a new one is begun")
    if not found:
        raise InvalidValueError("no result meets " + " and ".join(filters), hint="leave a filter out")
    compared = comparisons(found, everything=everything)
    data = {**rows(found, everything=everything), "comparisons": compared}
    if not data["rows"] and not compared:
        raise InvalidValueError(
            "no result of profile, eval or compare is among them", hint="edgecnn profile m.onnx"
        )
    page = render(
        {
            **data,
            "filters": list(filters),
            "stored": len(found),
            "made": datetime.now().astimezone().isoformat(timespec="seconds"),
            "version": __version__,
        }
    ).encode()
    files.write_atomic(path, page)
    return Report(
        path, len(page), len(found), len(data["rows"]), len(data["files"]), len(compared), tuple(damaged)
    )


def render(data: dict[str, Any]) -> str:
    """Return the page of `data`, which `rows` and `comparisons` describe."""
    plotly = require("plotly.offline", "a report").get_plotlyjs()
    own = "".join(_part(name) for name in _SCRIPTS)
    # Inside a script element "<" could begin its end.
    text = json.dumps(_visible(data), separators=(",", ":"), allow_nan=False).replace("<", r"\u003c")
    return string.Template(_part("page.html")).substitute(
        style=_part("page.css"),
        plotly=plotly,
        script=own,
        data=text,
        # Nothing but these two scripts may run, and nothing may be fetched.
        allowed=" ".join(f"'sha256-{_digest(script)}'" for script in (plotly, own)),
    )


def _visible(value: Any) -> Any:
    """Return JSON in which every text shows all of its characters."""
    if isinstance(value, dict):
        return {visible(str(key)): _visible(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_visible(item) for item in value]
    return visible(value) if isinstance(value, str) else value


def _part(name: str) -> str:
    return (resources.files("edgecnn.report") / "parts" / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
