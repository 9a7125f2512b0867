"""A table of named things: registering a name twice is an error, an unknown name suggests its neighbours."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from edgecnn.errors import UnknownNameError

T = TypeVar("T")


def suggest(name: str, known: list[str]) -> str:
    """Return a hint for a mistyped `name`: its nearest neighbours in `known`, else all of them."""
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return "known names: " + ", ".join(known)


class Registry(Generic[T]):
    """An ordered table from names (and aliases) to values.

    `kind` is the noun that error messages use, for instance "architecture"; `see` is their hint where
    no name is near. `more` is called once, when the table is listed or a name is not in it, and adds
    what other packages bring.
    """

    def __init__(
        self, kind: str, see: str | None = None, more: Callable[[Registry[T]], None] | None = None
    ) -> None:
        self._kind = kind
        self._see = see
        self._more = more
        self._values: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def add(self, name: str, value: T, aliases: tuple[str, ...] = ()) -> None:
        """Register `value`; raises ValueError if the name or an alias is taken."""
        for key in (name, *aliases):
            if key in self._values or key in self._aliases:
                raise ValueError(f"{self._kind} {key!r} is registered twice")
        self._values[name] = value
        self._aliases.update(dict.fromkeys(aliases, name))

    def get(self, name: str) -> T:
        """Return the value of `name` or of the name it is an alias of; raises UnknownNameError."""
        if name not in self._aliases and name not in self._values:
            self._complete()
        canonical = self._aliases.get(name, name)
        if canonical not in self._values:
            hint = suggest(name, [*self._values, *self._aliases])
            if self._see and not hint.startswith("did"):
                hint = self._see
            raise UnknownNameError(f"unknown {self._kind} {name!r}", hint=hint)
        return self._values[canonical]

    def registered(self) -> list[T]:
        """Return the values so far, without asking other packages for theirs."""
        return list(self._values.values())

    def names(self) -> list[str]:
        """Return the canonical names in the order of registration."""
        self._complete()
        return list(self._values)

    def __iter__(self) -> Iterator[T]:
        self._complete()
        return iter(self._values.values())

    def _complete(self) -> None:
        more, self._more = self._more, None
        if more is not None:
            more(self)
