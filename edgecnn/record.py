"""Results as records: the keys of `--json`, and a table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

#: Longer lists are left out of a notebook's table.
_MOST_ROWS = 200


class Record:
    """The base of results. `to_json` gives the keys that the command prints with `--json`."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as values that JSON knows."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return as_html(self.to_json())


def as_html(values: Mapping[str, Any]) -> str:
    """Return a table of what a result says: a line for each value, and a table of each list of results."""
    tables = [_table([], [[f"<b>{_text(key)}</b>", _text(value)] for key, value in _values(values)])]
    for key, rows in values.items():
        if isinstance(rows, list) and rows and len(rows) <= _MOST_ROWS and isinstance(rows[0], dict):
            flat = [dict(_values(row)) for row in rows]
            columns = list(dict.fromkeys(name for row in flat for name in row))
            body = [[_text(row.get(name, "")) for name in columns] for row in flat]
            tables.append(f"<p><b>{_text(key)}</b></p>{_table(columns, body)}")
    return "".join(tables)


def _values(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the plain values, those of a mapping under both names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _values(value, f"{before}{key}.")
        elif not isinstance(value, list) and value is not None:
            yield f"{before}{key}", value


def _table(columns: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    return html.escape(f"{value:.6g}" if isinstance(value, float) else str(value))
