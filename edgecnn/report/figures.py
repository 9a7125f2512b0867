"""What a page says of one stored result, whatever it measured."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from edgecnn.measure.conditions.record_conditions import SETTINGS
from edgecnn.measure.store import Result

_DIGITS = 4


def settings(result: Result) -> tuple[Any, ...]:
    """Return what makes a result the successor of an older one: the same kind, file, machine and settings."""
    found = result.values.get("conditions") or {}
    return (result.kind, result.sha256, result.host, *(str(found.get(key)) for key in SETTINGS))


def moment(result: Result) -> str:
    """Return when it was measured, in local time."""
    return datetime.fromtimestamp(result.time).astimezone().isoformat(timespec="seconds")


def short(value: float | None) -> float | None:
    """Return a number with as many digits as anybody reads."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")
