"""What was asked for, as the lineage keeps it: the fields of a request that are no defaults, and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size

T = TypeVar("T")


def to_json(request: Any, *without: str) -> dict[str, Any]:
    """Return the fields of a dataclass, and of those in it, that are not their defaults.

    `without` names those that the result does not depend on, such as where it is written.
    """
    values = {}
    for item in dataclasses.fields(request):
        value = getattr(request, item.name)
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        if item.init and item.name not in without and value != default:
            values[item.name] = _plain(value)
    return values


def from_json(kind: type[T], values: Any, names: Mapping[str, Any], **others: Any) -> T:
    """Return the request that `to_json` wrote down, with `others` for what it left out.

    `names` are the types that the annotations of `kind` name and that its module imports for checkers only.
    Raises ArtifactError for what this version cannot ask for, and what the request itself raises.
    """
    try:
        return _made(kind, values, names, others)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ArtifactError(f"this edgecnn cannot ask for what was asked: {error}") from error


def _made(kind: Any, values: Mapping[str, Any], names: Mapping[str, Any], others: Mapping[str, Any]) -> Any:
    kinds = typing.get_type_hints(kind, localns=dict(names))
    return kind(**{key: _value(kinds[key], value, names) for key, value in values.items()}, **others)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, Size):
        return value.said
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if callable(value):  # a metric of the user's, by which name it may be found again
        return f"{value.__module__}:{value.__qualname__}"
    return str(value) if isinstance(value, Path) else value


def _value(kind: Any, value: Any, names: Mapping[str, Any]) -> Any:
    """Return a JSON value as what the annotation `kind` says."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        parts = typing.get_args(kind)
        if value is None:
            return None
        records = [part for part in parts if dataclasses.is_dataclass(part)]
        if isinstance(value, dict) and records:
            fields = ({item.name for item in dataclasses.fields(part)} for part in records)
            fitting = [part for part, known in zip(records, fields, strict=True) if known >= value.keys()]
            return _value(min(fitting, key=lambda part: len(dataclasses.fields(part))), value, names)
        kind = next(part for part in parts if part is not type(None))
    if dataclasses.is_dataclass(kind):
        return _made(kind, value, names, {})
    if kind is Path:
        return Path(value)
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(_value(inner, item, names) for item in value)
    return value
