"""The one way out to the terminal: nothing that a stranger wrote steers it."""

from __future__ import annotations

import contextlib

import click

from edgecnn.visible import visible


def say(text: str = "", *, fg: str | None = None, err: bool = False) -> None:
    """Print a line, in the colour `fg` on a terminal; what would steer a terminal is shown escaped.

    A standard error that takes nothing does not end the work that it tells of.
    """
    line = visible(text)
    with contextlib.suppress(OSError) if err else contextlib.nullcontext():
        click.echo(click.style(line, fg=fg) if fg else line, err=err)
