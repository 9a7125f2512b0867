"""What a step of a recipe may say: the fields of its request, read from YAML, and the request made of them.

A recipe is checked before the first step, when files of earlier steps are still to come: a stand-in takes
their place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from edgecnn.artifact import Manifest, Step
from edgecnn.options import Field, fields, from_text, make
from edgecnn.zoo.spec import NetworkSpec

T = TypeVar("T")
Options = Mapping[str, Any]

#: Options that take a file of an earlier step, beside the network.
_FILES = ("teacher", "model", "models", "reference")


class _ToCome(NetworkSpec):
    """The checkpoint that an earlier step will have made."""

    @cached_property
    def manifest(self) -> Manifest | None:
        return Manifest((), (), architecture="mobilenet", weights="trained", lineage=(Step("build", {}),))

    def _check_code(self) -> None:
        """Of whose code it will be is not known yet."""


def offered(kind: type) -> Mapping[str, Field]:
    """Return the fields of a request that a step can give."""
    return {name: field for name, field in fields(kind).items() if "recipe" not in field.option.hidden}


def default(field: Field) -> Any:
    """Return what stands in a plan for a field that is not given."""
    return None if field.required or field.default == () else field.default


def read(field: Field, value: Any) -> Any:
    """Return a value that a recipe gives; raises ValueError if it is of another type."""
    if value is None and (field.optional or default(field) is None):
        return None
    if field.many and field.option.read is None:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(value)
        return value
    if field.option.read is not None and isinstance(value, str):
        return value
    kind: Any = field.type if field.type in (bool, int, float) else str
    if kind is str and type(value) is int:  # a folder called 2024, a goal of 1000000
        return str(value)
    if kind is float and type(value) is int and abs(value) < 2**1000:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ValueError(value)
    return value


def request(kind: type[T], options: Options, **others: Any) -> T:
    """Return the request of a step; `others` are fields that a recipe does not give.

    Raises what the request itself raises.
    """
    known = offered(kind)
    values = dict(_values(known, options))
    network = values.get("network")
    if isinstance(network, str) and network.startswith("@"):
        others["network"] = _to_come(kind, values)
    return make(kind, values, **others)


def _values(known: Mapping[str, Field], options: Options) -> Iterator[tuple[str, Any]]:
    for name, field in known.items():
        value = options.get(name)
        if value is None and not field.optional:
            continue
        if field.many and isinstance(value, list):
            value = tuple(value)
        yield name, from_text(field, value)


def _to_come(kind: type, values: Mapping[str, Any]) -> NetworkSpec:
    own = {item.name for item in dataclasses.fields(NetworkSpec)}
    given = {
        place[1]: values[name]
        for name, field in fields(kind).items()
        for place in field.places
        if place[0] == "network" and place[1] in own and name in values
    }
    return _ToCome(**{**given, "name": f"{values['network']}.safetensors"})


def stand_ins(options: Options) -> dict[str, Any]:
    """Return options in which names of files stand for those that earlier steps make, but for networks."""
    return {key: _stand_in(key, value) for key, value in options.items()}


def _stand_in(key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_stand_in(key, item) for item in value]
    if isinstance(value, str) and value.startswith("@") and key != "network":
        return f"{value}.onnx" if key in _FILES else value
    return value


def beside(output: Path) -> dict[str, Any]:
    """Return where the log and the plot of a training step lie, which goes on where it was cut off."""
    return {
        "output": output,
        "resume": True,
        "log": output.with_suffix(".csv"),
        "plot": output.with_suffix(".png"),
    }
