"""Two processes train the network that one would."""

import json
import os
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from program import run
from ssh_board import free_port

WORKER = Path(__file__).with_name("distributed_worker.py")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def two_processes() -> list[dict[str, str]]:
    """The environments of two processes that train together, as torchrun would set them."""
    world = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [{**world, "RANK": rank, "LOCAL_RANK": rank} for rank in "01"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    started = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(folder / "two.json")],
            env=environment, stderr=subprocess.PIPE, text=True,
        )
        for environment in two_processes()
    ]  # fmt: skip
    runpy.run_path(str(WORKER))["train"](folder / "one.json")
    for process in started:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    return [json.loads((folder / f"{name}.json").read_text()) for name in ("one", "two")]


def test_the_loss_curves_are_the_same(runs):
    one, two = runs
    assert (one["world"], two["world"]) == (1, 2)
    for key in ("loss", "top1", "validation_loss", "lr"):
        np.testing.assert_allclose(
            [row[key] for row in one["rows"]], [row[key] for row in two["rows"]], rtol=1e-4
        )
    assert one["rows"][-1]["loss"] < one["rows"][0]["loss"]


def test_the_weights_are_the_same(runs):
    one, two = (np.array(found["weights"]) for found in runs)
    np.testing.assert_allclose(two, one, rtol=1e-2, atol=1e-3 * np.abs(one).mean())


def test_the_command_runs_in_two_processes(tmp_path):
    path = tmp_path / "m.safetensors"
    arguments = ("lenet5", "--data", "digits", "--epochs", "1", "-o", str(path), "--json")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda environment: run("train", *arguments, env=environment), two_processes()))
    assert [end.returncode for end in done] == [0, 0], [end.stderr for end in done]
    assert json.loads(done[0].stdout)["top1"] > 0.3 and not done[1].stdout
    assert path.exists() and len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_the_command_runs_under_torchrun(tmp_path):
    path = tmp_path / "m.safetensors"
    arguments = ("lenet5", "--data", "digits", "--epochs", "1", "-o", str(path), "--json")
    done = subprocess.run(
        [*TORCHRUN, "-m", "edgecnn", "train", *arguments], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["top1"] > 0.3 and path.exists() and len(list(tmp_path.iterdir())) == 1


def test_an_error_of_all_processes_is_said_once(tmp_path):
    arguments = ("lenet5", "--data", "digits", "--batch", "5000", "-o", str(tmp_path / "m.safetensors"))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda environment: run("train", *arguments, env=environment), two_processes()))
    assert all(end.returncode == 1 for end in done)
    assert "".join(end.stderr for end in done).count("error: digits has") == 1
