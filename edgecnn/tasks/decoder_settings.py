"""What a manifest says of a decoder, read with care: manifests come from strangers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgecnn.errors import ArtifactError

#: `Manifest.decoder`: the decoder's name, where boxes end (score, iou, limit), and its own parameters.
Settings = Mapping[str, Any]
_REQUIRED: Any = object()


def number(settings: Settings, key: str, default: Any = _REQUIRED) -> float:
    """Return a finite number; raises ArtifactError for anything else."""
    value = _said(settings, key, default)
    if not _is_number(value):
        raise wrong(key, value, "a number")
    return float(value)


def numbers(settings: Settings, key: str, default: Any = _REQUIRED) -> list[float]:
    """Return a list of finite numbers, of which there is at least one; raises ArtifactError."""
    value = _said(settings, key, default)
    if not (_is_list(value) and value and all(map(_is_number, value))):
        raise wrong(key, value, "a list of numbers")
    return [float(item) for item in value]


def lists(settings: Settings, key: str, default: Any = _REQUIRED) -> list[list[float]]:
    """Return a list of lists of finite numbers; raises ArtifactError."""
    value = _said(settings, key, default)
    if not (_is_list(value) and all(_is_list(item) and all(map(_is_number, item)) for item in value)):
        raise wrong(key, value, "a list of lists of numbers")
    return [[float(item) for item in row] for row in value]


def wrong(key: str, value: Any, expected: str) -> ArtifactError:
    """Return what is to be said of a setting that is none."""
    return ArtifactError(
        f"the decoder's {key} is {value!r:.60}", hint=f"{expected} is expected; docs/tasks.md lists them"
    )


def _said(settings: Settings, key: str, default: Any) -> Any:
    value = settings.get(key)
    if value is not None:
        return value
    if default is _REQUIRED:
        raise ArtifactError(f"the decoder has no {key}", hint="docs/tasks.md lists what each decoder needs")
    return default


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
