"""What README.md and docs/ show: command lines are understood, and files that are named are there."""

import ast
import contextlib
import importlib
import io
import re
import shlex
from pathlib import Path

import click
import pytest
from program import run

from edgecnn.cli import COMMANDS, group

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def command_lines(page: Path) -> list[str]:
    """The lines of the page's indented blocks that start the program, with those that they go on in."""
    text = page.read_text().replace("\\\n", " ")
    return re.findall(r"^    (?:\$ )?(?:[A-Z_]+=\S+ )*(edgecnn .*)$", text, re.MULTILINE)


def shown(line: str) -> list[str]:
    """The words of a command line, up to what a shell does with them; what stands for something is one."""
    words = shlex.split(line.replace("...", ""), comments=True)
    end = next((at for at, word in enumerate(words) if word in ("|", ">", "&&", ";", "2>", "->")), len(words))
    return words[1:end]


def understood(words: list[str]) -> None:
    """Read a command line as the program does, without running it. Raises click.ClickException."""
    context, command = click.Context(group), group
    while words and isinstance(command, click.Group):
        name, words = words[0], words[1:]
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"no command {name}")
        command = found
    with contextlib.suppress(click.exceptions.Exit), contextlib.redirect_stdout(io.StringIO()):
        command.make_context("edgecnn", words)


#: Lines in which other programs' options stand, and such options elsewhere.
FOREIGN = re.compile(
    r"pip |pip3 |docker|buildah|torchrun|trtexec|cmake|nvpmodel|jetson_clocks|npm|apt|ssh |git |python |curl"
    r"|uvicorn|sudo"
)
OTHERS = {"--host", "--user", "--build-arg"}

LINES = [pytest.param(line, id=f"{page.stem}: {line[:60]}") for page in PAGES for line in command_lines(page)]


def test_there_are_command_lines_to_try():
    assert len(LINES) > 60


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_is_understood(line):
    words = shown(line)
    if words and not words[0].startswith("-"):
        understood(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_are_linked_are_there(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_of_the_project_that_are_named_are_there(page):
    folders = "benchmarks|recipes|docker|examples|edgecnn|tests"
    named = re.findall(rf"(?<![/\w.])((?:{folders})/[\w./-]+\.\w+)\b", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_modules_that_are_named_without_their_folder_are_there(page):
    named = re.findall(r"`((?:\w+/)*\w+\.py)\b[^`]*`", page.read_text())
    folders = ("edgecnn", "tests", "benchmarks", "examples", "docs")
    there = [f"/{path.as_posix()}" for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


def test_the_readme_lists_every_command():
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"| `edgecnn {name}" not in text] == []


def test_every_command_takes_json():
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        assert all(any("--json" in option.opts for option in item.params) for item in inner), name


def test_the_table_of_benchmarks_is_what_make_bench_runs():
    makefile = (ROOT / "Makefile").read_text()
    table = (ROOT / "docs" / "benchmarks.md").read_text().partition("## Engines")[0]
    run = set(re.findall(r"benchmarks/(\w+\.py)", makefile.partition("\nbench:")[2].partition("\n\n")[0]))
    assert set(re.findall(r"\(`(\w+\.py)`", table)) | {"quantization.py"} == run


@pytest.mark.slow
def test_the_first_minute_gives_what_the_readme_prints(tmp_path):
    """Sizes and costs are to the digit; what int8 answers differs a little by the processor."""
    (tmp_path / "edgecnn").symlink_to(ROOT / "edgecnn")
    text = (ROOT / "README.md").read_text().partition("## The first minute")[2].partition("\n| command")[0]
    block = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    printed = ""
    for line in block:
        if line.startswith("$ "):
            done = run(*shown(line.removeprefix("$ ")), cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            printed += done.stdout
    for start in ("network", "cost", "precision", "RANDOM WEIGHTS", "next:"):
        (line,) = [line for line in block if line.startswith(start)]
        assert " ".join(line.split()) in " ".join(printed.split())
    assert re.search(r"\(([\d.]+ MB)", text)[1] in printed
    said, measured = (float(re.search(r"parity +([\d.]+) dB", page)[1]) for page in (text, printed))
    assert measured == pytest.approx(said, abs=1.0)
    said, answered = (float(re.search(r"([\d.]+)% +espresso \(967\)", page)[1]) for page in (text, printed))
    assert answered == pytest.approx(said, abs=1.0)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_that_is_shown_imports_what_there_is(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgecnn"):
                module = importlib.import_module(node.module)
                missing = [name.name for name in node.names if not hasattr(module, name.name)]
                assert missing == [], node.module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_options_that_are_named_exist(page):
    """In running text too: `--resume`, of whichever command."""
    context = click.Context(group)
    known = {"--help", "--version"}
    for name in COMMANDS:
        command = group.get_command(context, name)
        inner = command.commands.values() if isinstance(command, click.Group) else [command]
        known |= {
            word
            for item in inner
            for option in item.params
            for word in (*option.opts, *option.secondary_opts)
        }
    lines = [line for line in page.read_text().splitlines() if not FOREIGN.search(line)]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", "\n".join(lines)))
    assert sorted(named - known - OTHERS) == []
