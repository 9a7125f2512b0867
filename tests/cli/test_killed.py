"""Commands killed wherever they touch files: nothing is half written, and the next run ends as it would have.

The points are named (`killed.py`), so the same ones are met on every machine.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import killed
import numpy as np
import onnx
import pytest
from killed import Program
from onnx import numpy_helper

from edgecnn.zoo.state_file import read_state

pytestmark = pytest.mark.slow

DIGITS = ("--data", "digits", "--batch", "256", "--augmentation", "none")
RECIPE = """
name: tiny
steps:
  - id: teacher
    train: {network: lenet5, data: digits, epochs: 2, augmentation: none, batch: 256}
  - id: student
    seeds: [0, 1]
    distill: {network: lenet5, alpha: 0.5, teacher: "@teacher", data: digits, epochs: 1, augmentation: none,
              batch: 256}
  - id: pruned
    prune: {network: "@student", target_params: 0.8x, align: 1, data: digits, epochs: 1, augmentation: none,
            batch: 256, measure: false}
  - id: int8
    train: {qat: true, target: cpu, network: "@pruned", data: digits, epochs: 1, augmentation: none,
            batch: 256}
"""
#: Trainings whose states differ in what they hold.
TRAININGS = {
    "averaged and mixed": ("train", "lenet5", *DIGITS, "--ema", "0.9", "--mixup", "0.3", "--cutmix", "1"),
    "sgd in bf16": ("train", "lenet5", *DIGITS, "--optimizer", "sgd", "--amp", "bf16", "--validation", "0"),
    "channels first": (
        "train", "mobilenet", "--alpha", "0.25", "--resolution", "32", *DIGITS, "--channels-first",
    ),
    "batch normalization": ("train", "mobilenet", "--alpha", "0.25", "--resolution", "32", *DIGITS),
    "frozen": ("train", "net.safetensors", "--data", "shades", "--batch", "8", "--freeze", "1"),
    "distilled": ("distill", "lenet5", "--teacher", "net.safetensors", "--features", "hint", *DIGITS),
    "quantized": ("train", "net.safetensors", "--qat", "--target", "cpu", *DIGITS),
}  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    server = Program()
    yield server
    server.close()


@pytest.fixture(scope="module")
def inputs(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained network, two ONNX files of it, a recipe, and images of two shades of grey."""
    from PIL import Image

    root = tmp_path_factory.mktemp("inputs")
    work = root / "work"
    ran = [
        program.run(root, "train", "lenet5", *DIGITS, "--epochs", "4", "-o", "net.safetensors"),
        program.run(root, "export", "net.safetensors", "-o", "net.onnx"),
        program.run(root, "quantize", "net.onnx", "--target", "cpu", "-o", "int8.onnx"),
    ]
    assert not any(done.code for done in ran), [done.errors for done in ran]
    rng = np.random.default_rng(0)
    for name, base in (("dark", 0), ("light", 128)):
        (work / "shades" / name).mkdir(parents=True)
        for index in range(20):
            pixels = rng.integers(base, base + 128, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(work / "shades" / name / f"{index}.png")
    (work / "tiny.yaml").write_text(RECIPE)
    return root


def copy(inputs: Path, root: Path) -> Path:
    shutil.copytree(inputs / "work", root / "work")
    return root


def learned(path: Path) -> Mapping[str, np.ndarray]:
    """The weights of a checkpoint or an ONNX file."""
    if path.suffix == ".onnx":
        model = onnx.load(path)
        return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    return {name: value.numpy() for name, value in read_state(path, 1 << 30).tensors.items()}


def assert_same(one: Path, two: Path) -> None:
    mine, theirs = learned(one), learned(two)
    assert mine.keys() == theirs.keys()
    different = [name for name in mine if not np.array_equal(mine[name], theirs[name])]
    assert not different, f"{len(different)} of {len(mine)} tensors of {one.name}"


def listing(folder: Path) -> list[str]:
    return sorted(str(item.relative_to(folder)) for item in folder.rglob("*"))


@pytest.mark.parametrize("arguments", TRAININGS.values(), ids=TRAININGS.keys())
def test_a_training_killed_after_each_kind_of_state_ends_with_the_same_weights(
    arguments, program, inputs, tmp_path
):
    suffix = ".onnx" if "--qat" in arguments else ".safetensors"
    command = (*arguments, "--epochs", "3", "-o", f"out{suffix}")
    whole, root = copy(inputs, tmp_path / "whole"), copy(inputs, tmp_path / "killed")
    assert program.run(whole, *command).code == 0
    for after in (1, 1, 2, 3):  # at the first step, after one more, over the end of an epoch or a stage
        done = program.run(root, *command, "--resume", point=f"state {after}")
        assert done.code == -signal.SIGKILL, done.errors
        assert (root / "work" / f"out{suffix}.training").exists()
        assert not (root / "work" / f"out{suffix}").exists()
    done = program.run(root, *command, "--resume")
    assert done.code == 0, done.errors
    assert_same(whole / "work" / f"out{suffix}", root / "work" / f"out{suffix}")
    assert listing(root / "work") == listing(whole / "work")


def test_two_processes_killed_after_a_state_end_with_the_same_weights(tmp_path):
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    command = ("train", "lenet5", *DIGITS, "--epochs", "3", "--ema", "0.9")
    codes = []
    for name, points in (("whole", ("end",)), ("killed", ("state 1", "state 4", "end"))):
        (tmp_path / name).mkdir()
        for point in points:
            done = subprocess.run(
                [*launcher, killed.__file__, point, *command, "-o", "out.safetensors", "--resume"],
                cwd=tmp_path / name, capture_output=True, text=True, timeout=240,
            )  # fmt: skip
            codes.append((point, done.returncode == 0))
    assert codes == [("end", True), ("state 1", False), ("state 4", False), ("end", True)], done.stderr
    assert_same(*(tmp_path / name / "out.safetensors" for name in ("whole", "killed")))
    assert listing(tmp_path / "whole") == listing(tmp_path / "killed") == ["out.safetensors"]


TWO_EPOCHS = (*DIGITS, "--epochs", "2", "--resume")
#: The command, and the files that it makes, the main one first.
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "train": ("train lenet5 {training} -o out.safetensors", ["out.safetensors"]),
    "distill": (
        "distill lenet5 --teacher net.safetensors {training} -o out.safetensors", ["out.safetensors"]
    ),
    "qat": ("train net.safetensors --qat --target cpu {training} -o out.onnx", ["out.onnx"]),
    "prune": (
        "prune net.safetensors --ratio 0.5 --align 1 --seconds 0.1 -o out.safetensors", ["out.safetensors"]
    ),
    "export": ("export net.safetensors -o out.onnx", ["out.onnx"]),
    "quantize": ("quantize net.onnx --target cpu -o out.onnx", ["out.onnx"]),
    "compile ort": ("compile net.onnx --backend ort -o out.ort", ["out.ort", "out.ort.json"]),
    "compile openvino": (
        "compile net.onnx --backend openvino -o out.xml", ["out.xml", "out.bin", "out.xml.json"]
    ),
    "profile": ("profile net.onnx --seconds 0.1 --layers", []),
    "eval": ("eval net.onnx --data digits", []),
    "compare": ("compare net.onnx int8.onnx --seconds 0.2", []),
    "report": ("report -o out.html", ["out.html"]),
    "run": ("run tiny.yaml -o out", []),
}  # fmt: skip
#: Most kills of one command; of more points so many are taken, evenly.
MOST = 16


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_wherever_it_touches_files_leaves_nothing_half_done(
    name, program, inputs, tmp_path, record_property
):
    text, makes = COMMANDS[name]
    command = text.format(training=" ".join(TWO_EPOCHS)).split()
    whole, root = copy(inputs, tmp_path / "whole"), copy(inputs, tmp_path / "killed")
    if name == "report":
        for folder in (whole, root):
            assert program.run(folder, "eval", "net.onnx", "--data", "digits").code == 0
    done = program.run(whole, *command)
    assert done.code == 0, done.errors
    points = [
        f"{kind} {number}"
        for kind, most in (("look", MOST // 4), ("change", MOST))
        for number in evenly(done.points.count(kind == "change"), most)
    ]
    kills = 0
    for point in points:
        ended = program.run(root, *command, point=point)
        assert ended.code in (0, -signal.SIGKILL), ended.errors
        kills += ended.code != 0
        assert_whole(root, whole, makes)
        if all((root / "work" / item).exists() for item in makes):
            for item in makes:
                (root / "work" / item).unlink()
            (root / "work" / "out.safetensors.training").unlink(missing_ok=True)
        if ended.code == 0 and name != "report":
            # To make the store takes more points than to add to it.
            (root / "home" / "results.sqlite").unlink(missing_ok=True)
    last = program.run(root, *command)
    assert last.code == 0, last.errors
    assert_whole(root, whole, makes)
    if name == "run":
        for item in ("teacher", "student", "student-seed-1", "pruned"):
            assert_same(*(folder / "work" / "out" / f"{item}.safetensors" for folder in (whole, root)))
        assert_same(*(folder / "work" / "out" / "int8.onnx" for folder in (whole, root)))
    assert listing(root / "work") == listing(whole / "work")
    assert not [item for item in listing(root / "tmp") if ".edgecnn-" in item]
    if (root / "home" / "results.sqlite").exists():
        assert program.run(root, "report", "-o", "page.html").code == 0
    print(f"{name}: {kills} kills at {len(points)} of {len(done.points)} points")
    record_property("kills", kills)
    # A recipe goes on where it was killed, so that the next kill may find nothing left to be done.
    assert kills >= len(points) // (4 if name == "run" else 2)


@pytest.mark.parametrize("suffix", [".ort", ".xml"])
def test_an_engine_killed_while_it_replaces_another_is_the_old_one_or_the_new_one_or_refused(
    suffix, program, inputs, tmp_path
):
    backend, output = {".ort": "ort", ".xml": "openvino"}[suffix], f"out{suffix}"
    ask = ("predict", output, "shades/dark/0.png", "--json")

    def build(root: Path, source: str, point: str = "") -> killed.Ended:
        return program.run(root, "compile", source, "--backend", backend, "-o", output, point=point)

    before = copy(inputs, tmp_path / "before")
    assert program.run(before, "export", "lenet5", "-o", "old.onnx").code == 0
    assert build(before, "old.onnx").code == 0
    after = tmp_path / "after"
    shutil.copytree(before, after)
    built = build(after, "net.onnx")
    assert built.code == 0, built.errors
    old, new = (program.run(root, *ask).out for root in (before, after))
    assert old and new and old != new
    changes = built.points.count(True)
    met = []
    for number in range(changes - 16, changes):  # the files get their names, one after the other
        root = tmp_path / str(number)
        shutil.copytree(before, root)
        assert build(root, "net.onnx", f"change {number}").code == -signal.SIGKILL
        found = program.run(root, *ask)
        met.append({old: "old", new: "new"}.get(found.out, "refused"))
        if met[-1] == "refused":
            assert found.code == 1 and not found.out
            assert "was written for" in found.errors and "edgecnn compile" in found.errors
        done = build(root, "net.onnx")
        assert done.code == 0 and program.run(root, *ask).out == new, done.errors
        assert listing(root / "work") == listing(after / "work")
        assert not [item for item in listing(root / "tmp") if ".edgecnn-" in item]
    assert met == sorted(met, key=["old", "refused", "new"].index) and set(met) == {"old", "refused", "new"}


def evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers from 0 to below `count`, the first and the last among them."""
    return sorted({int(number) for number in np.linspace(0, count - 1, most)}) if count else []


def assert_whole(root: Path, whole: Path, makes: list[str]) -> None:
    """Every file that a run was to make is either not there or complete."""
    for path in (root / "work").rglob("*"):
        if path.suffix in (".safetensors", ".onnx") and not path.name.startswith("."):
            twin = whole / path.relative_to(root)
            assert_same(twin, path)
    if makes and (root / "work" / makes[0]).exists():
        assert all((root / "work" / item).exists() for item in makes)
