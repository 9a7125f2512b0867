"""The one way out to the terminal: nothing that a stranger wrote steers it, and a full one is said to be."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from edgecnn.errors import OutputError
from edgecnn.untrusted_text import visible

if TYPE_CHECKING:
    from rich.console import Console


class NobodyReads(Exception):
    """Whoever read standard output has seen enough.

    No OSError: click ends the program with 1 when it sees that of a broken pipe.
    """


def say(text: str = "", *, fg: str | None = None, err: bool = False) -> None:
    """Print a line, in the colour `fg` on a terminal; what would steer a terminal is shown escaped.

    A standard error that takes nothing does not end the work that it tells of. Raises as `printing`.
    """
    line = visible(text)
    with contextlib.suppress(OSError) if err else printing():
        click.echo(click.style(line, fg=fg) if fg else line, err=err)


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Raise OutputError where standard output takes nothing, but NobodyReads where nobody reads it."""
    try:
        yield
    except BrokenPipeError as error:
        _let_go()
        raise NobodyReads from error
    except OSError as error:
        _let_go()
        raise OutputError(
            f"cannot write to standard output: {error.strerror}", hint="what was written to files is whole"
        ) from error


def console(*, err: bool = False, width: int | None = None) -> Console:
    """Return what draws tables and bars, which leaves what happens when nobody reads on to `printing`.

    A standard error that nobody reads does not end the work that it tells of.
    """
    from rich import console as rich

    class Ours(rich.Console):
        def on_broken_pipe(self) -> None:  # rich's own ends the program with 1
            if not err:
                raise BrokenPipeError
            self.quiet = True

    return Ours(stderr=err, width=width)


def open_missing() -> None:
    """Let what was started without standard streams have some that lead nowhere.

    Else the next file that is opened takes their number, and gets what a library prints.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _let_go() -> None:
    """Let what is still in the buffer go nowhere: Python would try it again at the end."""
    with contextlib.suppress(OSError, ValueError):  # a test's output has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


#: A field of a request, as the library names it.
_FIELD = re.compile(r"(?<!`)`([a-z][a-z0-9_]*)`(?!`)")


def as_options(text: str) -> str:
    """Return what the library says, with the options of the command line for the fields that it names."""
    return _FIELD.sub(lambda name: words_of(name[1]), text)


def words_of(name: str) -> str:
    """Return a field as the command line calls it."""
    return "--" + name.replace("_", "-")


def note(text: str, *, err: bool = False) -> None:
    """Say what the library remarks, with the options of the command line for the fields that it names."""
    say(f"note: {as_options(text)}", fg="yellow", err=err)
