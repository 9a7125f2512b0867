"""An emulated arm64 board, used as a board is: by `--on`, over SSH, from a system as it was flashed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from PIL import Image
from program import run

from edgecnn.data.builtin import stream
from edgecnn.measure import store
from edgecnn.runtime import load

SCRIPT = Path(__file__).with_name("board.sh")
#: As recorded, in tests/measure/recorded/orin_nano_jp7.
MODEL = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
RELEASE = "L4T 39.2.1 (JetPack 7.2.1)"


@pytest.fixture(scope="module")
def board() -> Iterator[Path]:
    """The folder of a board that runs, and that edgecnn knows as "board"; it is kept for the next time."""
    lacks = [tool for tool in ("debootstrap", "qemu-aarch64-static") if shutil.which(tool) is None]
    if os.geteuid() != 0 or lacks:
        pytest.skip(
            "needs root" if os.geteuid() != 0 else "needs apt-get install debootstrap qemu-user-static"
        )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "edgecnn" / "board"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"), pytest.MonkeyPatch.context() as patch:
        begun = subprocess.run([SCRIPT, "begin", folder], capture_output=True, text=True)
        assert begun.returncode == 0, begun.stderr
        patch.setenv("EDGECNN_SSH", f"ssh -F {folder / 'ssh_config'}")
        yield folder
        subprocess.run([SCRIPT, "end", folder], check=True)
        assert inhabitants(folder) == []


def inhabitants(folder: Path) -> list[str]:
    """Return the processes that run on the board."""
    found = []
    for link in Path("/proc").glob("[0-9]*/root"):
        try:
            if link.readlink() == folder / "root":
                found.append(link.parent.name)
        except OSError:  # it has just ended
            pass
    return found


def shell(folder: Path, command: str) -> str:
    """Return what a command on the board prints."""
    words = ["ssh", "-F", folder / "ssh_config", "board", command]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def answer(*arguments: str, **options) -> dict:
    """Return what the program prints as JSON."""
    done = run(*arguments, "--json", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_missing_tool_is_named_with_its_package(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("the script asks for root first")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "realpath", "dirname", "id", "cat", "grep"):
        (tools / name).symlink_to(str(shutil.which(name)))
    words = [str(tools / "bash"), str(SCRIPT), "begin", str(tmp_path)]
    done = subprocess.run(words, env={"PATH": str(tools)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "board.sh: no qemu; apt-get install qemu-user-static\n")


@pytest.mark.slow
def test_a_board_as_it_was_flashed_gets_all_it_needs_into_one_folder(board):
    assert shell(board, "rm -rf .edgecnn; touch .before; python3 -m pip 2>&1 || true") == (
        "/usr/bin/python3: No module named pip\n"
    )
    found = answer("doctor", "--on", "board")
    assert found["machine"]["system"].endswith(" aarch64, emulated")
    assert found["machine"]["board"] == f"{MODEL}; {RELEASE}"
    assert [check["name"] for check in found["checks"] if check["works"]] == ["ONNX Runtime"]
    written = shell(
        board, "find / -path /proc -prune -o -user nvidia -newer ~/.before -print | grep -v /.edgecnn"
    )
    assert set(written.split()) <= {"/home/nvidia", "/home/nvidia/.before"}


@pytest.mark.slow
def test_a_profile_has_the_boards_conditions_and_says_that_it_is_emulated(board, exported, tmp_path):
    forms = ((), ("--int8",), ("--int8", "--target", "cpu"))
    for number, form in enumerate(forms):
        shutil.copy(exported("mobilenet", "--alpha", "0.25", *form), tmp_path / f"{number}.onnx")
    mine = {**os.environ, "EDGECNN_RESULTS": str(tmp_path / "results.sqlite")}
    names = [f"{number}.onnx" for number in range(len(forms))]
    found = answer("profile", *names, "--seconds", "1", "--on", "board", cwd=tmp_path, env=mine)["results"]
    assert [(row["path"], row["precision"], row["target"]) for row in found] == [
        ("0.onnx", "float32", "portable"),
        ("1.onnx", "int8", "portable"),
        ("2.onnx", "int8", "cpu"),
    ]
    for row in found:
        conditions = row["conditions"]
        assert (conditions["machine"], conditions["emulated"]) == ("aarch64", True)
        assert (conditions["board"], conditions["release"]) == (MODEL, RELEASE)
        assert conditions["power_mode"] == "25W" and conditions["before"]["memory_mhz"] == 665
        assert "this machine is emulated: its times say nothing of a board" in row["notes"]
        assert row["latency_ms"]["p50"] > 0
    kept = store.query(store=tmp_path / "results.sqlite")
    assert {item.path for item in kept} == {str(tmp_path / name) for name in names}


@pytest.mark.slow
def test_a_board_by_its_name_is_asked_for_the_library_of_its_target(board, exported, tmp_path):
    port = shell(board, "echo $SSH_CONNECTION").split()[3]
    mine = {**os.environ, "EDGECNN_DEVICES": str(tmp_path / "devices.toml")}
    address = ("orin1", f"ssh://nvidia@127.0.0.1:{port}", "--target", "jetson-orin-nano")
    found = answer("devices", "add", *address, env=mine)["check"]
    assert (found["machine"], found["home"]) == ("aarch64", "/home/nvidia/.edgecnn")
    assert (found["tensorrt"], found["onnxruntime"]) == (False, False)
    model = str(exported("mobilenet", "--alpha", "0.25", "--int8"))
    done = run("profile", model, "--on", "orin1", env=mine)
    assert done.returncode == 1 and "error: TensorRT" in done.stderr
    asked = ("--backend", "ort", "--seconds", "0.5", "--on", "orin1")
    found = answer("profile", model, *asked, env=mine)
    assert (found["path"], found["backend"]) == (model, "onnxruntime")


@pytest.mark.slow
def test_a_comparison_says_that_it_is_emulated(board, exported):
    models = [exported("mobilenet", "--alpha", "0.25", *form) for form in ((), ("--int8", "--target", "cpu"))]
    found = answer("compare", *map(str, models), "--seconds", "0.5", "--on", "board")
    assert "this machine is emulated: its times say nothing of a board" in found["notes"]
    assert [row["path"] for row in found["results"]] == [str(model) for model in models]


@pytest.mark.slow
def test_what_needs_root_on_a_board_is_said_and_the_rest_done(board, exported):
    model = exported("mobilenet", "--alpha", "0.25")
    wanted = ("--pin-clocks", "--power-mode", "MAXN_SUPER", "--seconds", "0.5")
    done = run("profile", str(model), *wanted, "--on", "board", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["conditions"]["power_mode"] == "25W"
    assert "could not prepare: power mode MAXN_SUPER" in done.stderr
    assert "could not prepare: clocks pinned" in done.stderr and "as a root user" in done.stderr


@pytest.mark.slow
def test_an_int8_network_answers_50_photographs_as_it_does_here(board, exported, tmp_path):
    model = exported("efficientnet_lite0", "--weights", "imagenet", "--int8", "--target", "cpu")
    with load(model) as engine:
        preprocessing = engine.preprocessing
    photos = []
    for check in (False, True):
        for frame in stream(preprocessing, 25, check=check, digit_images=False):
            photos.append(str(tmp_path / f"{len(photos)}.png"))
            Image.fromarray(frame).save(photos[-1])
    here = answer("predict", str(model), *photos, "--top", "1")["predictions"]
    there = answer("predict", str(model), *photos, "--top", "1", "--on", "board")["predictions"]
    best = [[(item["image"], item["classes"][0]["index"]) for item in side] for side in (here, there)]
    assert best[0] == best[1]
    assert len({index for _, index in best[0]}) >= 10
