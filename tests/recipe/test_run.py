"""A run of a recipe: every step for real, on a network that is trained in seconds."""

import json
import shutil
from pathlib import Path

import pytest
from program import run_here as run

from edgecnn.artifact import read_manifest
from edgecnn.zoo.state_file import read_state

RECIPE = """
name: tiny
about: a small network
variables: {epochs: 1}
steps:
  - id: teacher
    train: {network: lenet5, data: digits, epochs: $epochs, augmentation: none, batch: 32}
  - id: student
    seeds: [0, 1]
    distill: {network: lenet5, alpha: 0.5, teacher: "@teacher", data: digits, epochs: $epochs,
              augmentation: none, batch: 32}
  - id: pruned
    prune: {network: "@student", target_params: 0.8x, align: 1, data: digits, epochs: 1, augmentation: none,
            measure: false}
  - id: int8
    train: {qat: true, target: cpu, network: "@pruned", data: digits, epochs: 1, augmentation: none}
  - export: {network: "@pruned", data: digits}
  - id: again
    quantize: {model: "@export", target: cpu, effort: fast, calib_images: 8, check_images: 4, force: true}
  - id: engine
    compile: {model: "@again", backend: onnxruntime}
  - compare: {models: ["@export", "@engine"], seconds: 0.1, force: true}
  - id: accuracy
    eval: {model: "@int8", data: digits}
  - id: latency
    profile: {models: ["@export", "@int8"], seconds: 0.2}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "tiny.yaml").write_text(RECIPE)
    done = run("run", str(folder / "tiny.yaml"), "-o", str(folder / "out"), "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_everything_lies_in_one_folder(ran):
    folder, report = ran
    names = {item.name for item in (folder / "out").iterdir()}
    assert {
        "teacher.safetensors", "student.safetensors", "student-seed-1.safetensors", "pruned.safetensors",
        "int8.onnx", "export.onnx", "run.json", "summary.md", "teacher.csv", "teacher.png", "int8.csv",
    } <= names  # fmt: skip
    assert not [name for name in names if name.endswith(".training")]
    assert [step["id"] for step in report["steps"]][:3] == ["teacher", "student", "pruned"]


def test_every_verb_is_a_step(ran):
    folder, report = ran
    steps = {step["id"]: step for step in report["steps"]}
    assert read_manifest(folder / "out" / "again.onnx").precision == "int8"
    assert (
        steps["engine"]["paths"] == ["engine.ort"]
        and steps["engine"]["metrics"][0]["backend"] == "onnxruntime"
    )
    one, two = steps["compare"]["metrics"][0]["results"]
    assert (
        one["path"].endswith("export.onnx")
        and two["path"].endswith("engine.ort")
        and two["ratio"]["value"] > 0
    )


def test_the_lineage_goes_from_the_data_to_the_int8_file(ran):
    folder, report = ran
    steps = read_manifest(folder / "out" / "int8.onnx").lineage
    assert [step.what for step in steps] == [
        "build", "initialize", "distill", "prune", "trace", "simplify", "check", "quantize",
        "quantization-aware training",
    ]  # fmt: skip
    distill, prune = steps[2], steps[3]
    assert len(distill.parameters["data_sha256"]) == 64
    assert distill.parameters["teacher_sha256"] == report["steps"][0]["sha256"][0]
    assert prune.parent == report["steps"][1]["sha256"][0]


def test_the_summary_has_every_step_and_its_accuracy(ran):
    folder, report = ran
    text = (folder / "out" / "summary.md").read_text()
    for step in report["steps"]:
        assert f"| {step['id']} |" in text
    seeds = [row["top1"] for row in report["steps"][1]["metrics"]]
    assert f"{sum(seeds) / 2:.2%} ({min(seeds):.2%} to {max(seeds):.2%}, 2 seeds)" in text
    (int8,) = report["steps"][3]["metrics"]
    assert int8["simulation_agreement"] >= 0.995
    accuracy = next(step for step in report["steps"] if step["id"] == "accuracy")
    assert accuracy["metrics"][0]["top1"] == pytest.approx(int8["top1"])


def test_the_summary_has_a_row_for_each_candidate(ran):
    folder, report = ran
    lines = (folder / "out" / "summary.md").read_text().splitlines()
    head = lines.index("| candidate | top-1 | size | p50 | p99 |")
    rows = {row.split(" | ")[0].strip("| "): row for row in lines[head + 2 : lines.index("", head)]}
    assert rows.keys() == {"int8", "export", "again"}
    steps = {step["id"]: step["metrics"][0] for step in report["steps"]}
    for measured in steps["latency"]["measured"]:
        row = rows[Path(measured["path"]).stem]
        assert f"| {measured['latency_ms']['p50']:.3g} ms | {measured['latency_ms']['p99']:.3g} ms |" in row
    assert f"| {steps['accuracy']['top1']:.2%} |" in rows["int8"]


def test_what_is_done_is_not_done_again_and_what_changed_is(ran, tmp_path):
    folder, report = ran
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out)
    times = {item.name: item.stat().st_mtime_ns for item in out.glob("*.safetensors")}
    done = run("run", str(folder / "tiny.yaml"), "-o", str(out), "--json")
    assert json.loads(done.stdout)["steps"] == report["steps"]
    assert times == {item.name: item.stat().st_mtime_ns for item in out.glob("*.safetensors")}
    (out / "pruned.safetensors").write_bytes(b"damaged")
    done = run(
        "run", str(folder / "tiny.yaml"), "-o", str(out), "--json", "--set", "accuracy.model=@export"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = {step["id"]: step for step in json.loads(done.stdout)["steps"]}
    before = {step["id"]: step for step in report["steps"]}
    assert steps["student"] == before["student"]
    assert steps["pruned"]["fingerprint"] == before["pruned"]["fingerprint"]
    assert read_state(out / "pruned.safetensors", 1 << 30).tensors
    assert steps["accuracy"]["fingerprint"] != before["accuracy"]["fingerprint"]


def test_a_folder_of_another_recipe_is_refused(ran, tmp_path):
    folder, _ = ran
    (tmp_path / "other.yaml").write_text(RECIPE.replace("name: tiny", "name: other"))
    done = run("run", str(tmp_path / "other.yaml"), "-o", str(folder / "out"))
    assert done.returncode == 1 and "holds a run of tiny" in done.stderr


def test_a_dry_run_prints_the_plan_and_does_nothing(ran, tmp_path):
    folder, _ = ran
    out = tmp_path / "nothing"
    done = run("run", str(folder / "tiny.yaml"), "-o", str(out), "--dry-run", "--set", "teacher.epochs=7")
    assert done.returncode == 0 and not out.exists()
    rows = done.stdout.splitlines()
    assert any("teacher" in row and "epochs 7" in row for row in rows)
    assert any("int8.onnx" in row and "qat True" in row for row in rows)
