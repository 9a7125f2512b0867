"""A table of named things: registering a name twice is an error, an unknown name suggests its neighbours."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from edgecnn.errors import EdgecnnError, UnknownNameError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

T = TypeVar("T")


class Row(Protocol):
    """A value that knows its names."""

    @property
    def name(self) -> str:
        """The canonical one."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Others that lead to it."""


R = TypeVar("R", bound=Row)


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
        self.kind = kind
        self._see = see
        self._more = more
        self._values: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def add(self, name: str, value: T, aliases: tuple[str, ...] = ()) -> None:
        """Register `value`; raises ValueError if the name or an alias is taken."""
        for key in (name, *aliases):
            if key in self._values or key in self._aliases:
                raise ValueError(f"{self.kind} {key!r} is registered twice")
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
            raise UnknownNameError(f"unknown {self.kind} {name!r}", hint=hint)
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


def plugins(group: str) -> EntryPoints:
    """Return what installed packages bring by entry points of `group`, importing none of it."""
    from importlib.metadata import entry_points

    return entry_points(group=group)


def add_plugins(registry: Registry[R], group: str, row: type[R]) -> None:
    """Register what entry points of `group` are: each a `row`, whose name is its own, or several.

    Raises EdgecnnError naming a plug-in that cannot be used.
    """
    for point in plugins(group):
        try:
            found = point.load()
            for item in (found,) if isinstance(found, row) else found:
                registry.add(item.name, item, item.aliases)
        except Exception as error:  # a plug-in is anybody's code
            raise EdgecnnError(
                f"the {registry.kind} plug-in {point.name} = {point.value} cannot be used: {error}",
                hint="mend or uninstall the package that brings it",
            ) from error
