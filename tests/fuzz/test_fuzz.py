"""A few hundred wrong inputs for each door, the same ones every time; `make fuzz` tries many more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
NAMES = (
    "metadata",
    "manifests",
    "checkpoints",
    "pickles",
    "images",
    "recipes",
    "stores",
    "frames",
    "command lines",
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What was found for each target, by one process that has imported everything once."""
    done = subprocess.run(
        [sys.executable, str(FUZZ), "--keep", str(tmp_path_factory.mktemp("found"))],
        capture_output=True,
        text=True,
        timeout=280,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(NAMES), done.stderr[-2000:]
    return {line["target"]: line for line in lines}


@pytest.mark.parametrize("name", NAMES)
def test_no_input_ends_in_a_traceback_a_hang_or_gigabytes(found, name):
    assert found[name]["inputs"] >= 50
    assert found[name]["found"] == {}
