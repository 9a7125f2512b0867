"""docs/own-network.md: its files, commands and programs, in the order of the page."""

import re
import shlex
from pathlib import Path

import pytest
from program import run

from edgecnn.artifact import read_manifest

PAGE = (Path(__file__).parents[2] / "docs" / "own-network.md").read_text()
TUTORIAL = PAGE[PAGE.index("## From a file to an engine") : PAGE.index("## What a function is told")]
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^    (edgecnn .*)$", TUTORIAL, re.MULTILINE)]


def test_the_page_goes_from_a_file_to_an_engine():
    assert [command[0] for command in COMMANDS] == ["export", "train", "prune", "export", "compile"]
    assert "class TwoHeads" in PROGRAMS[0] and len(PROGRAMS) == 3


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tmp_path, monkeypatch):
    (tmp_path / "two_heads.py").write_text(PROGRAMS[0])
    for command in COMMANDS:
        done = run(*command, cwd=tmp_path)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    outputs = read_manifest(tmp_path / "TwoHeads.onnx").outputs
    assert [(item.name, item.shape) for item in outputs] == [("digit", ("batch", 10)), ("odd", ("batch", 1))]
    monkeypatch.chdir(tmp_path)
    trained, fast = (read_manifest(tmp_path / name) for name in ("trained.safetensors", "fast.onnx"))
    assert trained.lineage[-1].metrics["loss"] < 2  # of about 3 at the beginning
    assert fast.precision == "int8" and fast.macs < trained.macs
    pruning = next(step for step in fast.lineage if step.what == "prune")
    assert pruning.metrics["latency_ratio"] <= 0.6
    for program in PROGRAMS[1:]:
        names: dict = {}
        exec(compile(program, "a program of docs/own-network.md", "exec"), names)
        if "digit" in names:
            assert names["digit"].shape == names["odd"].shape == (1,)
    assert names["pruned"].after.macs < names["pruned"].before.macs
