"""What strangers wrote (names, manifests, boards) is shown, and steers no terminal."""

import ast
import dataclasses
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from program import run_here

from edgecnn import artifact, cli
from edgecnn.cli import common
from edgecnn.cli.terminal import say
from edgecnn.errors import EdgecnnWarning
from edgecnn.report import page
from edgecnn.untrusted_text import visible

#: Sets a title, clears the screen, hides, writes over its line, turns the direction, closes rich's markup.
EVIL = "a\x1b]0;title\x07\x1b[2Jb\x1b[8mc\rd\x9b2Je\u202ef[/x][bold]g"
SHOWN = r"a\x1b]0;title\x07\x1b[2Jb\x1b[8mc\x0dd\x9b2Je\u202ef[/x][bold]g"


def on_a_terminal(words: list[str], folder: Path) -> str:
    """Run the program on a terminal of its own, and return all that it sends there."""
    ours, its = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "edgecnn", *words],
        cwd=folder, stdin=its, stdout=its, stderr=its, env=environment,
    ) as process:  # fmt: skip
        os.close(its)
        sent = b""
        try:
            while block := os.read(ours, 1 << 16):
                sent += block
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0, sent.decode(errors="replace")
    return sent.decode(errors="replace")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (EVIL, SHOWN),
        ("plain, ümläut, 猫 and 🐈", "plain, ümläut, 猫 and 🐈"),
        ("two\nlines\tand a tab", r"two\x0alines\x09and a tab"),
        (os.fsdecode(b"mod\xe8le"), r"mod\xe8le"),
        ("\u2028\u2066\ufeff\x7f", r"\u2028\u2066\ufeff\x7f"),
    ],
)
def test_every_character_is_seen(text, shown):
    assert visible(text) == shown


def test_what_is_said_is_shown(capsys):
    say(f"error: {EVIL}")
    common.print_facts([("label", EVIL)])
    common.print_table(["name", EVIL], [[EVIL, "1"]])
    with common.progress(None) as show:
        show(EVIL)
    found = capsys.readouterr()
    assert found.out.count(SHOWN) == 4 and SHOWN in found.err
    assert not set(found.out + found.err) & set("\x1b\x07\r\x9b\u202e")


def test_a_warning_is_shown():
    assert str(EdgecnnWarning(EVIL)) == SHOWN


def test_the_page_shows_it():
    text = page.render({"rows": [{"name": EVIL, EVIL: [EVIL]}]})
    data = text[text.index('{"rows"') :].partition("</script>")[0]
    assert json.dumps(SHOWN)[1:-1].replace("<", r"\u003c") in data and "\\u001b" not in data


@pytest.fixture
def evil(request, tmp_path, exported) -> Path:
    """A model whose name and manifest are such; only its labels are not where they have to fit the data."""
    path = tmp_path / f"{EVIL.replace('/', '|')}.onnx"
    model = onnx.load(exported("lenet5"))
    manifest = artifact.read_manifest(exported("lenet5"))
    changed = dataclasses.replace(
        manifest,
        architecture=EVIL,
        target=EVIL,
        weights=EVIL,
        labels=manifest.labels if "digits" in request.node.name else (EVIL,) * 10,
        lineage=(artifact.Step(EVIL, {EVIL: EVIL}),),
        versions={EVIL: EVIL},
    )
    for item in model.metadata_props:
        if item.key == artifact.METADATA_KEY:
            item.value = changed.to_json()
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("words", ["info", "profile --seconds 0.1", "predict", "eval --data digits"])
def test_a_manifest_is_shown(words, evil):
    command, *options = words.split()
    picture = [str(Path(common.__file__).parents[1] / "runtime/espresso.jpg")] if command == "predict" else []
    done = run_here(command, evil.name, *picture, *options, cwd=evil.parent)
    assert done.returncode == 0, done.stderr
    assert r"\x1b" in done.stdout + done.stderr
    assert not set(done.stdout + done.stderr) & set("\x1b\x07\r\x9b\u202e")


def test_on_a_terminal_only_our_own_sequences_are_sent(evil):
    sent = on_a_terminal(["profile", evil.name, "--seconds", "0.1"], evil.parent)
    for sequence in ("\x1b]0;", "\x1b[2J", "\x1b[8m", "\x9b", "\u202e"):
        assert sequence not in sent
    assert r"a\x1b]0;title\x07" in sent


def test_an_error_names_it(tmp_path):
    done = run_here("info", str(tmp_path / f"{EVIL}.onnx"))
    assert done.returncode == 1 and r"\x1b]0;title\x07" in done.stderr and "\x1b" not in done.stderr


def test_every_line_of_a_command_goes_one_way():
    """`terminal.say` and the tables of `common`: a module that prints by itself would not escape."""
    own = {"terminal.py", "__init__.py"}
    for path in Path(cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in ("click.echo", "click.secho", "print") or path.name in own, path
