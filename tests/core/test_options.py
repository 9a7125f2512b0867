"""Options are declared once: commands, recipes, requests and the reference are made from the same fields."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgecnn.cli import request_options
from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, fields, from_text, group, make, option
from edgecnn.recipe import step_options

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Inner(Request):
    name: str = option(help="Name of a network.", name="network", argument=True)
    alpha: float = option(1.0, "Width.", above=0, most=8, usual="0.5")
    seed: int = option(0, "Seed.", least=0, most=2**63 - 1)


@dataclass(frozen=True)
class Outer(Request):
    inner: Inner = group(Inner, alpha=0.5)
    output: Path = option(None, "File.", unset="NAME.x", path="write", hidden=("recipe",))
    kind: str = option("plain", "Kind.", choices=("plain", "small"), flags={"small": ("small", "Be small.")})
    share: float | None = option(None, "Share, in percent.", percent=True)
    parts: tuple[int, ...] = option((), "Parts: 1,2.", read=lambda text: tuple(map(int, text.split(","))))
    last: bool = option(True, "Whether last.", no="first")
    seed: int = option(0, "Seed.", least=0, most=2**63 - 1)


def command():
    seen = []

    @click.command()
    @click.argument("name")
    @request_options.options(Outer, help={"share": "Share of `parts`, in percent."})
    def made(name, **values):
        seen.append(request_options.request(Outer, values, network=name))
        assert not values

    return made, seen


def test_a_command_makes_the_request_of_its_options():
    made, seen = command()
    words = [
        "a",
        "--alpha",
        "2",
        "--small",
        "--share",
        "95",
        "--parts",
        "1,2",
        "--first",
        "--seed",
        "7",
        "-o",
        "f",
    ]
    done = CliRunner().invoke(made, words)
    assert done.exit_code == 0, done.output
    assert seen == [Outer(Inner("a", 2.0, 7), Path("f"), "small", 0.95, (1, 2), False, 7)]


def test_a_group_has_its_own_defaults_and_one_value_may_go_to_several():
    made, seen = command()
    assert CliRunner().invoke(made, ["a"]).exit_code == 0
    assert seen == [Outer(Inner("a", 0.5))]
    assert fields(Outer)["seed"].places == (("inner", "seed"), ("seed",))


def test_help_names_options_where_the_library_names_fields():
    text = CliRunner().invoke(command()[0], ["--help"]).output
    assert "Share of --parts, in percent." in text and "File  [NAME.x]." in text and "[default: 0.5]" in text
    assert "--last / --first" in " ".join(text.split())


def test_a_step_of_a_recipe_makes_the_same_request():
    known = step_options.offered(Outer)
    assert set(known) == {"network", "alpha", "seed", "kind", "share", "parts", "last"}
    given = {
        "network": "a",
        "alpha": 2,
        "kind": "small",
        "share": 95,
        "parts": "1,2",
        "last": False,
        "seed": 7,
    }
    values = {name: step_options.read(known[name], value) for name, value in given.items()}
    assert step_options.request(Outer, values) == Outer(
        Inner("a", 2.0, 7), None, "small", 0.95, (1, 2), False, 7
    )


@pytest.mark.parametrize(
    ("values", "reason", "hint"),
    [
        ({"alpha": 0.0}, "`alpha` of 0 cannot be used", "above 0, at most 8; 0.5 are usual"),
        ({"alpha": float("nan")}, "`alpha` of nan", "above 0"),
        ({"seed": -1}, "`seed` of -1", "0 or more"),
        ({"kind": "smal"}, "unknown `kind` 'smal'", "small"),
        ({"last": 1}, "`last` is 1", "true or false"),
        ({"alhpa": 1.0}, "no option `alhpa`", "alpha"),
    ],
)
def test_what_cannot_work_is_refused_with_what_can(values, reason, hint):
    with pytest.raises(InvalidValueError, match=reason) as caught:
        make(Outer, {"network": "a", **values})
    assert hint in caught.value.hint


def test_what_has_to_be_given_is_named():
    with pytest.raises(InvalidValueError, match="`network` is missing"):
        make(Outer, {})
    with pytest.raises(InvalidValueError, match="`parts`: invalid"):
        from_text(fields(Parts)["parts"], "x")


def _refuse(text):
    raise InvalidValueError(f"invalid {text}")


@dataclass(frozen=True)
class Parts(Request):
    parts: tuple[int, ...] = option((), "Parts.", read=_refuse)


def test_the_page_of_commands_is_what_the_program_says():
    spec = importlib.util.spec_from_file_location("make_commands", ROOT / "docs" / "make_commands.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.PAGE.read_text() == made.page(), "python docs/make_commands.py"
