"""A detector on a board: its boxes are those of the desk, and what reads its outputs goes along."""

import json

import numpy as np
import pytest
from PIL import Image
from program import run

pytestmark = pytest.mark.slow


def test_a_detector_is_measured_and_read_on_a_board(board, tmp_path):
    path, folder = tmp_path / "d.onnx", tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (90, 120, 3), np.uint8)).save(folder / f"{index}.png")
    run(
        *("export", "ssdlite", "--backbone", "mobilenet_v2", "--alpha", "0.35", "--resolution", "96"),
        *("--weights", "random", "-o", str(path)),
    )
    picture = str(folder / "0.png")
    here, there = (
        json.loads(run("predict", str(path), picture, "--json", *where).stdout)
        for where in ((), ("--on", "board"))
    )
    assert len(here["predictions"][0]["objects"]) > 0
    assert here["predictions"][0]["objects"] == there["predictions"][0]["objects"]
    done = run("predict", str(path), picture, "--draw", str(tmp_path / "drawn"), "--on", "board")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "drawn" / "0.png").stat().st_size > 0
    again = json.loads(
        run(
            "eval", str(path), "--data", str(folder), "--reference", str(path), "--json", "--on", "board"
        ).stdout
    )
    assert again["agreement"]["parity"]["agreement_of"] == "boxes"
    assert "ms" in run("profile", str(path), "--seconds", "0.5", "--on", "board,local").stdout
    engine = tmp_path / "d.ort"
    run("compile", str(path), "-o", str(engine), "--backend", "onnxruntime", "--on", "board")
    assert engine.stat().st_size > 0
