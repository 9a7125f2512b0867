"""The help of every option of every command."""

import click
import pytest

from edgecnn.cli import group

#: Beginnings that leave out or put off what an option is; flags, which do something, begin with a verb.
NO_NOUNS = (
    {"Of", "A", "An", "The", "At", "Only", "How", "What", "Which", "Whether", "For"}
    | {"Draw", "Write", "Build", "Measure", "Compare", "Run", "Exit", "Prune"}
)  # fmt: skip


def options(command, path=()):
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from options(command.get_command(context, name), (*path, name))
    else:
        for option in command.params:
            if isinstance(option, click.Option):
                yield " ".join((*path, option.opts[0])), option


def test_the_help_of_an_option_with_a_value_begins_with_its_noun():
    some = list(options(group))
    assert len(some) > 150
    words = {name: option.help.split()[0] for name, option in some if not option.is_flag}
    assert {name: word for name, word in words.items() if word in NO_NOUNS or not word[0].isupper()} == {}


@pytest.mark.parametrize("word", ["Of", "With"])
def test_no_flag_begins_with_what_it_belongs_to(word):
    flags = {name: option.help for name, option in options(group) if option.is_flag}
    assert {name for name, text in flags.items() if text.startswith(f"{word} ")} == set()
