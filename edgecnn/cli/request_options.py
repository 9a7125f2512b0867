"""A command's options, made from the fields of its request, and the request made from their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from edgecnn.cli.on_board import BoardPath
from edgecnn.cli.terminal import as_options, words_of
from edgecnn.options import Field, fields, from_text, make

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

#: How a path travels to a board and back, by its role.
_ROLES: Mapping[str, dict[str, bool]] = {
    "read": {"sent": True},
    "write": {"fetched": True},
    "update": {"sent": True, "fetched": True},
    "folder": {"sent": True, "folder": True},
}


def options(
    kind: type,
    *,
    without: tuple[str, ...] = (),
    required: tuple[str, ...] = (),
    help: Mapping[str, str] | None = None,
) -> Callable[[F], F]:
    """Return what adds the options of a request to a command, without those of that name.

    `required` are options that the command cannot do without; `help` says of some what is special here.
    """

    def add(function: F) -> F:
        made = [
            option
            for field in sorted(offered(kind, without), key=lambda field: field.name != "output")
            if not field.option.argument
            for option in _made(field, field.name in required, (help or {}).get(field.name))
        ]
        for option in reversed(made):
            function = option(function)
        return function

    return add


def offered(kind: type, without: tuple[str, ...] = ()) -> Iterator[Field]:
    """Yield the fields of a request that its command offers."""
    for name, field in fields(kind).items():
        if "command" not in field.option.hidden and name not in without:
            yield field


def request(kind: type[T], values: dict[str, Any], **others: Any) -> T:
    """Return the request of a command, and take the values of its options out of `values`.

    `others` are options that the command names otherwise. Raises click.UsageError for two flags of one field,
    and what the request itself raises.
    """
    chosen = dict(others)
    for field in offered(kind):
        flags = {value: flag for value, (flag, _) in field.option.flags.items() if values.pop(flag, False)}
        if len(flags) > 1:
            raise click.UsageError(f"{' and '.join(map(words_of, flags.values()))} exclude each other")
        if flags:
            (chosen[field.name],) = flags
        elif field.name in values:
            chosen[field.name] = values.pop(field.name)
    known: Mapping[str, Field] = fields(cast("Any", kind))
    read = {name: from_text(known[name], value) for name, value in chosen.items()}
    return make(kind, {name: v for name, v in read.items() if v is not None or known[name].optional})


def _made(field: Field, required: bool, help: str | None) -> Iterator[Callable[[F], F]]:
    """Yield the click options of a field: one, or a flag for each value."""
    option, words, text = field.option, words_of(field.name), as_options(help or field.option.help)
    default = None if field.required or field.default == () else field.default
    if option.flags:
        for flag, about in option.flags.values():
            yield click.option(words_of(flag), flag, is_flag=True, help=about)
    elif field.type is bool and option.no is None:
        yield click.option(words, field.name, is_flag=True, help=text)
    elif field.type is bool:
        words += f"/{words_of(str(option.no))}"
        yield click.option(words, field.name, default=default, show_default=True, help=text)
    else:
        if option.unset and default is None and not required:
            text = f"{text.removesuffix('.')}  [{as_options(option.unset)}]."
        yield click.option(
            *(["-o"] if field.name == "output" else []),
            words,
            field.name,
            type=_type(field),
            multiple=field.many and option.read is None,
            **({} if default is None else {"default": default, "show_default": True}),
            required=required or field.required,
            help=text,
        )


def _type(field: Field) -> Any:
    if field.option.path is not None:
        return BoardPath(**_ROLES[field.option.path], path_type=Path if field.type is Path else None)
    plain = field.option.read is None and field.type in (int, float)
    return field.type if plain else str
