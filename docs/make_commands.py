"""Write docs/commands.md: every command with its options, from the program itself.

python docs/make_commands.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from edgecnn.cli import COMMANDS, group

PAGE = Path(__file__).parent / "commands.md"
_HEAD = """\
# Commands

Made by `docs/make_commands.py` from the program's own options; `edgecnn COMMAND --help` prints the same. The
keys of a recipe's steps ([recipes.md](recipes.md)) and the keyword arguments in Python ([api.md](api.md)) are
these names with `_` for `-`.

Exit codes: 0 done, 1 an error, 2 wrong usage, 3 a budget or gate not met, 130 interrupted.
"""
#: Options that every command has.
_EVERYWHERE = ("--debug", "--json", "--help")


def page() -> str:
    """Return the whole page."""
    context = click.Context(group, info_name="edgecnn")
    parts = [_HEAD]
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        parts.append("\n".join(_section(name, command, context)))
    return "\n".join(parts)


def _section(name: str, command: click.Command, parent: click.Context, level: int = 2) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\n")
    yield f"{'#' * level} {context.command_path.removeprefix('edgecnn ')}\n"
    yield f"`{command.get_usage(context).removeprefix('Usage: ')}`\n"
    yield " ".join(text.split()) + "\n"
    if examples:
        yield "\n".join(f"    {line}" for line in examples.strip().splitlines()) + "\n"
    rows = list(_options(command))
    if rows:
        yield "\n".join(["| option | default | |", "|---|---|---|", *rows]) + "\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from _section(child, found, context, level + 1)


def _options(command: click.Command) -> Iterator[str]:
    for option in command.params:
        if isinstance(option, click.Option) and not set(option.opts) & set(_EVERYWHERE):
            names = ", ".join(f"`{word}`" for word in (*option.opts, *option.secondary_opts))
            text = (option.help or "").replace("|", "\\|")
            default = ""
            if "  [" in text:
                text, _, default = text.partition("  [")
                text, default = f"{text}.", default.rstrip("].")
            elif option.show_default and option.default is not None:
                default = f"`{option.default}`"
            yield f"| {names} | {default} | {text} |"


if __name__ == "__main__":
    PAGE.write_text(page())
