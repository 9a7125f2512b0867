"""A new result against an old one: what stops a change that makes an engine slower."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from edgecnn.errors import ArtifactError, ConditionsError
from edgecnn.measure.conditions.record_conditions import differences
from edgecnn.measure.latency.statistics import Ratio

_NEEDED = ("path", "backend", "latency_ms", "p50_interval_ms", "conditions", "n")
#: What two results of one engine may differ in: a result of another version of its library is one question.
_FREE = ("backend",)


def compare_results(new: str, baseline: str, *, force: bool = False) -> dict[str, Any]:
    """Return how the medians of two results of `profile --json` relate; the baseline comes first in the rows.

    They were not measured in turns, so the interval is that of two independent medians. Raises ArtifactError
    for a file that is no such result, ConditionsError if their conditions are unlike, unless `force`.
    """
    one, other = _read(new), _read(baseline)
    unlike = differences(other["conditions"], one["conditions"], ignore=_FREE)
    if unlike and not force:
        raise ConditionsError(
            f"{new} and {baseline} were measured under unlike conditions: {'; '.join(unlike)}",
            hint="measure both under the same, or `force`, which marks the result",
        )
    ratio = _ratio(one, other)
    return {
        "baseline": baseline,
        "unlike": unlike,
        "notes": list(dict.fromkeys(note for result in (other, one) for note in result.get("notes") or [])),
        "results": [
            {**_row(baseline, other), "ratio": None, "verdict": None},
            {**_row(new, one), "ratio": ratio.to_json(), "verdict": ratio.verdict},
        ],
    }


def _row(path: str, result: dict[str, Any]) -> dict[str, Any]:
    return {"path": path, "model": result["path"], **{key: result[key] for key in ("backend", "latency_ms")}}


def _ratio(one: dict[str, Any], other: dict[str, Any]) -> Ratio:
    """Return the ratio of two medians; the widths of their intervals add like independent errors."""
    logs = math.log(one["latency_ms"]["p50"] / other["latency_ms"]["p50"])
    reach = math.hypot(
        *(math.log(high / low) / 2 for low, high in (item["p50_interval_ms"] for item in (one, other)))
    )
    low, high = math.exp(logs - reach), math.exp(logs + reach)
    return Ratio(math.exp(logs), low, high, pairs=min(one["n"], other["n"]), loads=1)


def _read(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text())
        missing = [key for key in _NEEDED if key not in found]
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(
            f"{path} cannot be read: {error}", hint="edgecnn profile m.onnx --json > m.json"
        ) from error
    if missing:
        raise ArtifactError(
            f"{path} is no result of one model: it has no {', '.join(missing)}",
            hint="edgecnn profile m.onnx --json > m.json, one model at a time",
        )
    return dict(found)
