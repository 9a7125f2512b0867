"""What a measured file is and where it comes from, so that a result can be read without the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgecnn.model_content import content_bytes
from edgecnn.runtime.engine import Engine

#: Characters of a step's parameter or metric; what is longer (the structure of a pruned network) is left out.
_LONGEST = 200
#: Keys of an evaluation that hold something for each class or image: megabytes of a thousand classes.
_LISTS = frozenset({"per_class", "mistakes", "skipped", "changed"})


def describe(engine: Engine) -> dict[str, Any]:
    """Return the network, the form and the lineage of an engine's file, with the keys of every result."""
    manifest = engine.manifest
    found: dict[str, Any] = {
        "bytes": content_bytes(engine.path),
        "backend": engine.backend,
        "device": engine.device,
    }
    if manifest is None:
        return found
    return found | {
        "architecture": manifest.architecture,
        "alpha": manifest.alpha,
        "resolution": manifest.resolution,
        "weights": manifest.weights,
        "params": manifest.params,
        "macs": manifest.macs,
        "precision": manifest.precision,
        "target": manifest.target,
        "lineage": [
            {
                "what": step.what,
                "parameters": _short(step.parameters),
                "seed": step.seed,
                "parent": step.parent,
                "metrics": _short(step.metrics),
            }
            for step in manifest.lineage
        ],
    }


def _short(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in values.items()
        if value is not None and len(json.dumps(value)) <= _LONGEST
    }


def without_lists(values: Any) -> Any:
    """Return a result without what it says of every class and every image, at any depth."""
    if isinstance(values, Mapping):
        return {key: without_lists(value) for key, value in values.items() if key not in _LISTS}
    return [without_lists(value) for value in values] if isinstance(values, list) else values
