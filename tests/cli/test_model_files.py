"""What stands in place of a model file, or contradicts itself, is refused alike by every command."""

import json
import os

import onnx
import pytest
from program import SMALL, run_here

from edgecnn.artifact import METADATA_KEY


@pytest.mark.parametrize(
    "command",
    ["info {}", "profile {} --no-store", "predict {} {}", "quantize {} -o o.onnx", "compile {} -o o.ort",
     "compare {} {} --no-store", "eval {} --data digits --no-store", "verify {}",
     "export lenet5 --weights {} -o o.onnx"],
)  # fmt: skip
def test_a_pipe_in_place_of_a_model_is_called_so_by_every_command(command, tmp_path):
    os.mkfifo(tmp_path / "m.onnx")
    done = run_here(*command.format(*["m.onnx"] * 2).split(), cwd=tmp_path)
    said = done.stderr.splitlines()
    assert done.returncode == 1 and said[-2].startswith("error: ") and said[-1].startswith("hint: ")
    assert "m.onnx is a pipe, not a " in said[-2]
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_pipe_in_place_of_a_checkpoint_is_called_so(tmp_path):
    os.mkfifo(tmp_path / "m.safetensors")
    for command in ("export {} -o o.onnx", "train {} --data digits -o o.safetensors", "info {}"):
        done = run_here(*command.format("m.safetensors").split(), cwd=tmp_path)
        assert done.returncode == 1 and "m.safetensors is a pipe, not a model file" in done.stderr


@pytest.fixture(
    params=[dict.fromkeys(("size", "height", "width"), 96), {"mean": [0.5], "std": [0.5]}],
    ids=["size", "channels"],
)
def contradictory(request, exported, tmp_path):
    """A file whose manifest prepares other images than its graph takes."""
    model = onnx.load(exported(*SMALL))
    (entry,) = (item for item in model.metadata_props if item.key == METADATA_KEY)
    manifest = json.loads(entry.value)
    manifest["preprocessing"].update(request.param)
    entry.value = json.dumps(manifest)
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path


def test_a_manifest_that_contradicts_its_graph_is_refused_alike_by_every_command(contradictory, coffee):
    commands = (
        "profile m.onnx --seconds 0.1 --no-store",
        f"predict m.onnx {coffee}",
        "quantize m.onnx -o q.onnx --calib-images 8",
        "compile m.onnx --backend ort -o m.ort",
        "eval m.onnx --data digits --no-store",
        "compare m.onnx m.onnx --no-store",
    )
    said = set()
    for command in commands:
        done = run_here(*command.split(), cwd=contradictory)
        assert done.returncode == 1, command
        said.add(tuple(done.stderr.splitlines()[-2:]))
    ((line, hint),) = said
    assert line.startswith("error: m.onnx takes images of 3 x 64 x 64, but its manifest prepares them as ")
    assert "export" in hint and [path.name for path in contradictory.iterdir()] == ["m.onnx"]
