"""The house's counts find what they are to find, and what is drawn and written of it is true."""

import re
from pathlib import Path

import pytest
import tomlkit
from house import draw, house

ROOT = house.ROOT
PAGE = (ROOT / "docs" / "architecture.md").read_text()
#: By folder, "" for the package itself: the cell that says what lives there.
ROWS = {
    "" if folder.startswith("core") else folder.strip("`/"): cell
    for folder, cell in re.findall(r"^\| (core[^|]*|`[a-z0-9_/]+/`) \| (.*?) \|", PAGE, re.MULTILINE)
}


def made(folder: Path, **files: str) -> house.House:
    """A package of these files; a double underscore in a name stands for a folder."""
    for name, text in files.items():
        path = folder / "edgecnn" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house.House(folder)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch, request):
    if "tmp_path" in request.fixturenames:
        monkeypatch.setattr(house, "ROOT", tmp_path)


def test_an_option_of_a_request_and_of_its_command_is_declared_twice(tmp_path):
    found = made(
        tmp_path,
        request="class Base:\n  seed: int = option(0)\n"
        'class Request(Base):\n  out: str = option("x", name="output")',
        cli__commands__go='Request\n@click.option("--output")\n@click.option("--plot")\ndef command(): ...',
    )
    assert found.declared_twice() == ["go --output: edgecnn/request.py:4, edgecnn/cli/commands/go.py:2"]
    assert {option for _, option in found.options()} == {"output", "plot", "seed"}


def test_what_a_group_leaves_out_is_not_declared_by_it(tmp_path):
    found = made(
        tmp_path,
        request="class Part:\n  epochs: int = option(1)\n"
        'class Request:\n  part: Part = group(Part, "epochs")\n  epochs: int = option(2)',
        cli__commands__go="Request",
    )
    assert found.options() == {("go", "epochs"): ["edgecnn/request.py:5"]}


BACKENDS = """
Backend(
    name="toy", library="toylib", aliases=("t",), probe="edgecnn.runtime.toy_probe:p",
    engine="edgecnn.runtime.toy_engine:E", builder="edgecnn.compile.toy_builder:build",
)
"""


def test_who_knows_a_backend_is_found_outside_of_its_own_files(tmp_path):
    found = made(
        tmp_path,
        backends=BACKENDS,
        runtime__toy_engine='name = "toy"',
        runtime__toy_probe='name = "toy"',
        cli='help = "Build it: --backend toy"',
        optional_packages='EXTRA = {"toylib": "extra", "torch": "export"}',
        prose='text = "a toy is no name here"',
    )
    assert [place.partition(" ")[0] for place in found.who_knows_a_backend()] == [
        "edgecnn/cli.py:1",
        "edgecnn/optional_packages.py:1",
    ]


def test_long_files_and_functions_are_found(tmp_path):
    body = "    x = 1\n"
    found = made(
        tmp_path,
        short=f'def f():\n    """Say.\n\n    {"long" * 9}\n    """\n' + body * house.FUNCTION_LINES,
        long="def f():\n" + body * (house.FUNCTION_LINES + 1) + "x = 1\n" * house.FILE_LINES,
    )
    assert found.long_functions() == [f"edgecnn/long.py:1 f {house.FUNCTION_LINES + 1}"]
    assert [place.partition(" ")[0] for place in found.long_files()] == ["edgecnn/long.py"]


def test_a_circle_through_a_function_and_a_type_is_found(tmp_path):
    found = made(
        tmp_path,
        a="from edgecnn import b",
        b="def f():\n  from edgecnn.c import x",
        c="if TYPE_CHECKING:\n  import edgecnn.a",
        d="from edgecnn import a",
    )
    assert found.circles() == ["edgecnn.a ~ edgecnn.b ~ edgecnn.c"]


def test_private_names_of_other_libraries_are_found(tmp_path):
    found = made(
        tmp_path,
        a="from torch._utils import thing\nself._own = torch._lerp(x)\nstate._own()\nx.storage._cdata",
        b='require("lib._hidden", "doing")\nfrom edgecnn.a import _own\nos._exit(1)\n__import__("x").__doc__',
    )
    assert {place.split()[-1] for place in found.private_interfaces()} == {
        "torch._utils.thing",
        "torch._lerp",
        "x.storage._cdata",
        "lib._hidden",
    }


def test_the_drawing_is_of_the_layers_as_they_are():
    assert draw.DRAWING.read_text() == draw.draw(), "make house draws it anew"


def test_every_module_has_a_layer():
    named = {box.name.strip("/").removesuffix(".py") for row in draw.layers() for box in row} - {"core"}
    named |= set(draw.layers()[-1][0].text.split(", "))
    there = {
        path.stem for path in (ROOT / "edgecnn").iterdir() if not path.name.startswith(("_", ".", "py."))
    }
    assert named == there


def folders() -> list[str]:
    package = ROOT / "edgecnn"
    return sorted(
        str(path.parent.relative_to(package)).strip(".")
        for path in package.rglob("__init__.py")
        if path.parent == package or any(not each.name.startswith("__") for each in path.parent.glob("*.py"))
    )


@pytest.mark.parametrize("folder", [pytest.param(folder, id=folder or "core") for folder in folders()])
def test_the_page_names_each_module_and_no_other(folder):
    assert folder in ROWS, f"docs/architecture.md has no row for {folder}/"
    named = set(re.findall(r"`([a-z0-9_]+)`", ROWS[folder]))
    there = {path.stem for path in (ROOT / "edgecnn" / folder).glob("*.py") if not path.stem.startswith("__")}
    assert named == there


def test_the_page_has_no_row_for_a_folder_that_is_not_there():
    assert sorted(ROWS) == folders()


def test_the_files_that_the_page_names_are_there():
    named = re.findall(r"`([a-z0-9_/]+\.py)\b", PAGE)
    assert named and [name for name in named if not (ROOT / "edgecnn" / name).is_file()] == []


def questions() -> list[dict[str, object]]:
    return tomlkit.parse((ROOT / "tests" / "house" / "questions.toml").read_text())["question"].unwrap()


def test_there_are_forty_questions_and_each_has_a_file():
    asked = questions()
    assert len(asked) == 40 and len({item["asks"] for item in asked}) == 40
    files = [file for item in asked for file in item["files"]]
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert len(set(files)) > 35  # spread over the house
