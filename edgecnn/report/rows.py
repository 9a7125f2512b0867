"""From the store's results to the rows of a page: latency and accuracy of one file come together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.measure.store import Result
from edgecnn.report.figures import moment, settings, short

#: What is known of a file, as far as a result says it.
_OF_FILE = (
    "architecture",
    "alpha",
    "resolution",
    "weights",
    "precision",
    "target",
    "params",
    "macs",
    "bytes",
)
#: What a distribution is drawn from: the percentiles 0, 1, ... 100.
_PERCENTILES = np.arange(101)

Json = dict[str, Any]


def rows(results: Sequence[Result], *, everything: bool = False) -> Json:
    """Return what a page shows of results that come oldest first: `files`, `conditions` and `rows`.

    A row is one profile; of a file that was only evaluated, the evaluation. Rows name their file and their
    conditions by index. Only the newest result of a file under the same settings is taken, unless
    `everything` is asked for. Raises StoreError if a result's samples are damaged.
    """
    accuracy = _accuracy(result for result in results if result.kind == "eval")
    profiles = [result for result in results if result.kind == "profile"]
    profiled = {result.sha256 for result in profiles} | {_compiled_from(result) for result in profiles}
    measured = profiles + [
        result for result in results if result.kind == "eval" and result.sha256 not in profiled
    ]
    if not everything:
        measured = list({settings(result): result for result in measured}.values())
    files, conditions = _Table(), _Table()
    shown = [
        {
            "file": files.index(result.sha256, _file(result)),
            "conditions": conditions.add(flat(result.values.get("conditions") or {})),
            **_figures(result),
            "accuracy": accuracy.get(result.sha256) or accuracy.get(_compiled_from(result) or "") or {},
        }
        for result in measured
    ]
    return {"files": files.values, "conditions": conditions.values, "rows": shown}


def flat(values: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Return nested values as one level of texts and numbers for people, without those that are unknown."""
    found: dict[str, str | int | float] = {}
    for key, value in values.items():
        words = key.replace("_", " ")
        if isinstance(value, Mapping):
            found |= {f"{words}, {inner}": text for inner, text in flat(value).items()}
        elif isinstance(value, (list, tuple)):
            if value:
                found[words] = ", ".join(map(str, value))
        elif isinstance(value, bool):
            found[words] = "yes" if value else "no"
        elif value is not None:
            found[words] = value
    return found


class _Table:
    """Values that several rows share, each kept once."""

    def __init__(self) -> None:
        self.values: list[Json] = []
        self._places: dict[str, int] = {}

    def index(self, key: str, value: Json) -> int:
        """Return the place of what has this key; a later value replaces an earlier one."""
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        self.values[self._places[key]] = value
        return self._places[key]

    def add(self, value: Json) -> int:
        """Return the place of an equal value."""
        return self.index(json.dumps(value, sort_keys=True), value)


def _file(result: Result) -> Json:
    return {
        "name": Path(result.path).name,
        "path": result.path,
        "sha256": result.sha256,
        **{key: result.values.get(key) for key in _OF_FILE},
        "lineage": result.values.get("lineage") or [],
    }


def _figures(result: Result) -> Json:
    """Return a result's own figures: latencies in milliseconds of one inference, energy per image."""
    values = result.values
    latency = values.get("latency_ms") or {}
    parity = values.get("parity") or {}
    joules = values.get("joules_per_image")
    samples = result.samples
    return {
        "kind": result.kind,
        "time": moment(result),
        "host": result.host,
        "backend": values.get("backend"),
        "device": values.get("device"),
        "batch": (values.get("conditions") or {}).get("batch"),
        "p50": short(latency.get("p50")),
        "p90": short(latency.get("p90")),
        "p99": short(latency.get("p99")),
        "p50_interval": [short(end) for end in values.get("p50_interval_ms") or []],
        "throughput": short(values.get("throughput_ips")) if result.kind == "profile" else None,
        "millijoules": None if joules is None else short(joules * 1e3),
        "agreement": parity.get("top1_agreement"),
        "against": values.get("parity_against"),
        "sqnr_db": short(parity.get("sqnr_db")),
        "percentiles": None
        if samples is None
        else [short(value) for value in np.percentile(samples, _PERCENTILES).tolist()],
        "notes": values.get("notes") or [],
        "layers": values.get("layers"),
        "roofline": values.get("roofline"),
    }


def _accuracy(evaluations: Iterable[Result]) -> dict[str, dict[str, Json]]:
    """Return the newest accuracy of each file by its SHA-256, on each data set by its name."""
    found: dict[str, dict[str, Json]] = {}
    for result in evaluations:
        values = result.values
        metric = _own_metric(values)
        if metric is None and values.get("top1") is None:
            continue  # outputs that were compared with a reference's alone
        found.setdefault(result.sha256, {})[values["data"]] = {
            "top1": values.get("top1"),
            "top5": values.get("top5"),
            "metric": metric,
            "interval": values.get("top1_interval"),
            "n": values["n"],
            "sha256": result.sha256,
            "file": Path(result.path).name,
        }
    return found


def _own_metric(values: Mapping[str, Any]) -> Json | None:
    """Return name and share of what a task that is no classification measures, which is in points of 100."""
    metric = (values.get("metric") if "top1" in values else values["metric"]) or {}
    if not metric.get("unit"):
        return None
    return {"name": metric["name"], "share": metric["value"] / 100}


def _compiled_from(result: Result) -> str | None:
    """Return the SHA-256 of the ONNX file that an engine was compiled from: its answers are the engine's."""
    lineage = result.values.get("lineage") or []
    return lineage[-1]["parent"] if lineage and lineage[-1]["what"] == "compile" else None
