"""Options: each is declared once, as a field of a request, and every door is made from that.

A request is a frozen dataclass, one for each verb. From its fields come the options of the command, the keys
of the recipe's step, the keyword arguments of the Python API and the reference of the command line:

    @dataclass(frozen=True)
    class ExportRequest(Request):
        network: NetworkSpec = group(NetworkSpec)
        output: Path | None = option(None, "File to write.", unset="NAME.onnx")
        calib_images: int = option(128, "Number of images that calibrate, at most.", least=1)
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgecnn.errors import InvalidValueError, UnknownNameError
from edgecnn.registry import suggest

T = TypeVar("T")
_OPTION, _GROUP = "edgecnn.option", "edgecnn.group"
_WHAT = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Option:
    """What is known of one field of a request, beside its name, type and default."""

    #: One sentence that begins with a noun.
    help: str
    #: What the doors call it; None for the field's own name.
    name: str | None = None
    #: Values that are known, or what returns them.
    choices: tuple[str, ...] | Callable[[], Iterable[str]] = ()
    #: Least and greatest value; `above` is one that is itself too small.
    least: float | None = None
    most: float | None = None
    above: float | None = None
    #: Values that are usual, for people.
    usual: str | None = None
    #: What happens where it is left out, in a word or two.
    unset: str | None = None
    #: Whether the field is a share from 0 to 1, which commands and recipes give in percent.
    percent: bool = False
    #: From the text of a command or recipe to the value, for types that are no plain ones.
    read: Callable[[str], Any] | None = None
    #: Of a path: "read", "write", "update", or "folder", which is read.
    path: str | None = None
    #: By value, the flag that the command line has in place of the option, and its help.
    flags: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    #: Of a boolean, what the command line calls the flag that says no.
    no: str | None = None
    #: Whether the command takes it by its place.
    argument: bool = False
    #: Doors that leave it out: "command", "recipe".
    hidden: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """Return the values that are known; none: any."""
        return tuple(self.choices() if callable(self.choices) else self.choices)


@dataclass(frozen=True)
class Field:
    """An option as the doors see it: of a request, or of a group in it."""

    #: What the doors call it.
    name: str
    #: Field names from the request to it; several where one value goes to several groups.
    places: tuple[tuple[str, ...], ...]
    #: The type without None.
    type: Any
    optional: bool
    #: MISSING where it has to be given.
    default: Any
    option: Option

    @property
    def required(self) -> bool:
        """Whether it has to be given."""
        return self.default is MISSING

    @property
    def many(self) -> bool:
        """Whether it takes several values."""
        return typing.get_origin(self.type) is tuple

    @property
    def what(self) -> str:
        """What the value should be, for people."""
        if self.many:
            return "a list of texts"
        return _WHAT.get(self.type, "text")


def option(default: Any = MISSING, /, help: str = "", **settings: Any) -> Any:
    """Return a dataclass field that is an option. `settings` are those of `Option`."""
    return dataclasses.field(default=default, metadata={_OPTION: Option(help, **settings)})


def seed() -> Any:
    """Return the field of every request in which something is random."""
    return option(0, "Seed of whatever is random.", least=0, most=2**63 - 1)


def group(kind: type, /, *without: str, required: tuple[str, ...] = (), **defaults: Any) -> Any:
    """Return a dataclass field that is a request itself, whose options are those of the outer one.

    `defaults` replace those of `kind`; fields in `without` are not offered and keep their default.
    """
    settings = _Group(kind, without, required, defaults)
    if any(item.default is MISSING and item.name not in defaults for item in dataclasses.fields(kind)):
        return dataclasses.field(metadata={_GROUP: settings})
    return dataclasses.field(default_factory=lambda: kind(**defaults), metadata={_GROUP: settings})


@dataclass(frozen=True)
class _Group:
    kind: type
    without: tuple[str, ...]
    required: tuple[str, ...]
    defaults: Mapping[str, Any]


class Request:
    """The base of requests: values are checked when one is made, and paths may be given as text.

    Raises InvalidValueError for a value of another type, unknown, or out of its range.
    """

    def __post_init__(self) -> None:
        own: Any = type(self)
        for name, kind, optional, settings in _own(own):
            value = getattr(self, name)
            if value is None and (optional or _defaults_to_none(type(self), name)):
                continue
            if kind is Path and isinstance(value, (str, os.PathLike)):
                object.__setattr__(self, name, Path(value))
            elif kind in _WHAT and kind is not Path:
                check(value, kind, settings, f"`{settings.name or name}`")


def _defaults_to_none(kind: type, name: str) -> bool:
    return bool(kind.__dataclass_fields__[name].default is None)  # type: ignore[attr-defined]


@contextlib.contextmanager
def about(*names: str) -> Iterator[None]:
    """Let errors about a value say which fields it is of, by the names that the doors use."""
    try:
        yield
    except (InvalidValueError, UnknownNameError) as error:
        if not names:
            raise
        said = " and ".join(f"`{name}`" for name in names)
        raise type(error)(f"{said}: {error}", hint=error.hint) from error


def check(value: Any, kind: Any, settings: Option, title: str) -> None:
    """Raise InvalidValueError for a value that an option, which the message calls `title`, cannot have."""
    good: Any = {bool: bool, int: numbers.Integral, float: numbers.Real, str: str}[kind]
    if not isinstance(value, good) or (kind is not bool and isinstance(value, bool)):
        raise InvalidValueError(f"{title} is {value!r}", hint=f"it takes {_WHAT[kind]}")
    if settings.known and value not in settings.known:
        raise InvalidValueError(f"unknown {title} {value!r}", hint=suggest(value, list(settings.known)))
    least, most = settings.least, settings.most
    if kind in (int, float) and not (
        (math.isfinite(value) or value == most)
        and (least is None or value >= least)
        and (most is None or value <= most)
        and (settings.above is None or value > settings.above)
    ):
        raise InvalidValueError(
            f"{title} of {value:.15g} cannot be used",
            hint="; ".join(
                filter(None, [_range(settings), settings.usual and f"{settings.usual} are usual"])
            ),
        )


def _range(settings: Option) -> str:
    """Return which values are taken, in words."""
    strict = settings.above is not None
    low = settings.above if strict else settings.least
    low_text = "" if low is None else f"{'above ' if strict else ''}{low:,.15g}"
    if settings.most is None or settings.most > 1e15:
        return low_text + ("" if strict else " or more") if low_text else "a finite number"
    most = f"{settings.most:,.15g}"
    if not low_text:
        return f"at most {most}"
    return f"{low_text}, at most {most}" if strict else f"{low_text} to {most}, both included"


@functools.cache
def _own(kind: Any) -> tuple[tuple[str, Any, bool, Option], ...]:
    """Return name, type without None, whether None is a value, and settings of a request's own options."""
    hints = typing.get_type_hints(kind)
    found = []
    for item in dataclasses.fields(kind):
        if _OPTION in item.metadata:
            bare, optional = _without_none(hints[item.name])
            found.append((item.name, bare, optional, item.metadata[_OPTION]))
    return tuple(found)


def _without_none(kind: Any) -> tuple[Any, bool]:
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind, False
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    return (parts[0] if len(parts) == 1 else object), len(parts) < len(typing.get_args(kind))


@functools.cache
def fields(kind: Any) -> Mapping[str, Field]:
    """Return the options of a request and of the groups in it, by the names that the doors use."""
    found: dict[str, Field] = {}
    own = {name: (bare, optional, settings) for name, bare, optional, settings in _own(kind)}
    for item in dataclasses.fields(kind):
        if item.name in own:
            bare, optional, settings = own[item.name]
            name = settings.name or item.name
            optional = optional or item.default is None
            places = (*(found[name].places if name in found else ()), (item.name,))
            found[name] = Field(name, places, bare, optional, item.default, settings)
        elif _GROUP in item.metadata:
            inner: _Group = item.metadata[_GROUP]
            for name, field in fields(inner.kind).items():
                last = field.places[0][-1]
                if last in inner.without:
                    continue
                default = inner.defaults.get(last, field.default)
                places = tuple((item.name, *place) for place in field.places)
                found[name] = dataclasses.replace(
                    field,
                    places=(*found[name].places, *places) if name in found else places,
                    default=MISSING if last in inner.required else default,
                    optional=field.optional or default is None,
                )
    return types.MappingProxyType(found)


def make(kind: type[T], values: Mapping[str, Any], **others: Any) -> T:
    """Return a request from values by the names that the doors use; `others` are fields as they are.

    Raises InvalidValueError for an unknown name, and what the request itself raises.
    """
    known: Mapping[str, Field] = fields(typing.cast("Any", kind))
    for name in values:
        if name not in known:
            raise InvalidValueError(f"there is no option `{name}`", hint=suggest(name, list(known)))
    for name, field in known.items():
        if field.required and name not in values and field.places[0][0] not in others:
            raise InvalidValueError(f"`{name}` is missing", hint=field.option.help)
    placed = {place: value for name, value in values.items() for place in known[name].places}
    return _made(kind, placed, others)


def _made(kind: type[T], values: Mapping[tuple[str, ...], Any], others: Mapping[str, Any]) -> T:
    arguments = dict(others)
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        inner: _Group | None = item.metadata.get(_GROUP)
        if inner is not None and item.name not in others:
            below = {place[1:]: value for place, value in values.items() if place[0] == item.name}
            arguments[item.name] = _made(inner.kind, below, _defaults(inner, below))
        elif (item.name,) in values:
            arguments[item.name] = values[(item.name,)]
    return kind(**arguments)


def _defaults(inner: _Group, below: Mapping[tuple[str, ...], Any]) -> dict[str, Any]:
    return {name: value for name, value in inner.defaults.items() if (name,) not in below}


def from_text(field: Field, value: Any) -> Any:
    """Return the value of a field that a command or a recipe gives: a share from percent, a text read."""
    if value is None:
        return None
    if field.option.percent:
        return value / 100
    if field.option.read is not None and isinstance(value, (str, int)):
        with about(field.name):
            return field.option.read(str(value))
    return value


def from_python(field: Field, value: Any) -> Any:
    """Return the value of a field that a Python program gives: lists become tuples, a text is read.

    A mapping becomes KEY=VALUE texts where a field takes several.
    """
    if field.many and isinstance(value, Mapping):
        return tuple(f"{key}={json.dumps(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(value)
    if field.option.read is not None and isinstance(value, (str, int)):
        return from_text(field, value)
    return value
