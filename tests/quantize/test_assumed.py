"""A file that does not say how its images are prepared is stopped where what is assumed cannot be."""

import json

import pytest
from foreign_preparation import TAKES, foreign
from program import run_here as run

from edgecnn.artifact import read_manifest

SMALL = ("--calib-images", "8", "--check-images", "16", "--effort", "fast")


@pytest.fixture(scope="module")
def network(exported):
    return exported("mobilenet", "--alpha", "0.25", "--resolution", "64")


@pytest.mark.parametrize("takes", TAKES)
def test_only_a_network_for_pixels_of_0_to_255_is_stopped(network, tmp_path, takes):
    source, out = foreign(network, tmp_path / "m.onnx", takes), tmp_path / "q.onnx"
    done = run("quantize", source, "-o", str(out), *SMALL)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("note: the file does not say how its images are prepared"), "before the work"
    assert "note: the file does not say" not in done.stdout, "once"
    if takes != "0..255":
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1 and not out.exists()
    assert "seems to take pixels of 0..255" in done.stderr and "--yes" in done.stderr
    hint = next(line for line in lines if line.startswith("hint: "))
    said = hint.removeprefix("hint: ").partition(",  or")[0].partition(", or")[0].split()
    done = run("quantize", source, "-o", str(out), *SMALL, *said, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["notes"] == [], done.stderr
    assert read_manifest(out).preprocessing["std"] == pytest.approx([1 / 255] * 3, rel=1e-6)
    done = run("quantize", source, "-o", str(out), *SMALL, "--yes", "--json")
    assert done.returncode in (0, 3) and "does not say" in json.loads(done.stdout)["notes"][0]
