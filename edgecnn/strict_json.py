"""JSON of strangers, as its standard has it: Python's reader takes NaN, and numbers that become infinite."""

from __future__ import annotations

import json
import math
from typing import Any

#: Lists and objects within each other. What reads them on is not to run out of stack.
_DEEPEST = 100


def loads(text: str | bytes) -> Any:
    """Return what a JSON text says.

    Raises ValueError for what is no JSON, for numbers that are none and for too deep nesting.
    """
    try:
        value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def _inside(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, dict | list)]


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large for a number")
    return value
