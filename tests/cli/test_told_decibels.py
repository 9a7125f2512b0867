"""What `edgecnn quantize` tells of each output is what plain ONNX Runtime finds, with no code of ours."""

import json
import math

import numpy as np
import onnx
import onnxruntime
import pytest
from like_foreign import LIKE
from PIL import Image
from program import run_here

#: Pictures, of which every fifth in an order that a seed shuffles does not calibrate.
COUNT = 40
#: What is told and what is found may differ by so much, in dB.
NEAR = 0.5


def draw(folder, size):
    """Smooth pictures of the very size of the input."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    for index in range(COUNT):
        blocks = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
        picture = Image.fromarray(blocks).resize(size[::-1], Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:02}.png")


def held_out(folder, case):
    """The pictures that check, as the network takes them."""
    paths = sorted(folder.iterdir())
    rows = np.random.default_rng(0).permutation(COUNT)[::5]
    pixels = np.stack([np.asarray(Image.open(paths[row])) for row in rows]).astype(np.float32)
    pixels /= 1 if "255" in case.options else 255
    return pixels if case.shape[-1:] == (3,) else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def outputs(path, images):
    """Every output over all images; of one that Softmax makes, what entered it."""
    model = onnx.load(path)
    ends = {item.output[0]: item.input[0] for item in model.graph.node if item.op_type == "Softmax"}
    names = [value.name for value in model.graph.output]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in ends.values())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    read, source = [ends.get(name, name) for name in names], session.get_inputs()[0].name
    rows = [session.run(read, {source: images[row : row + 1]}) for row in range(len(images))]
    return {
        name: np.stack(values).astype(np.float64)
        for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }


def compare(name, tmp_path, *effort):
    case = LIKE[name]
    given, int8, pictures = case.save(tmp_path / "given.onnx"), tmp_path / "int8.onnx", tmp_path / "pictures"
    draw(pictures, case.size)
    done = run_here(
        "quantize", str(given), "-o", str(int8), "--target", "cpu", "--calib", str(pictures),
        "--fit", "stretch", *case.options, *effort, "--json",
    )  # fmt: skip
    # What int8 ruins is written, too, and said by the exit code.
    assert done.returncode in (0, 3), done.stderr
    parity = json.loads(done.stdout)["parity"]
    told = {item["name"]: item["sqnr_db"] for item in parity["outputs"]}
    images = held_out(pictures, case)
    assert parity["images"] == len(images) == COUNT // 5
    exact, rounded = outputs(given, images), outputs(int8, images)
    assert told.keys() == exact.keys() == rounded.keys()
    for key, value in told.items():
        noise = ((exact[key] - rounded[key]) ** 2).sum()
        found = 10 * math.log10((exact[key] ** 2).sum() / noise)
        assert abs(value - found) < NEAR, (key, value, found)
    assert parity["sqnr_db"] == min(told.values())


def test_of_an_output_that_int8_ruins(tmp_path):
    compare("second output ruined", tmp_path, "--effort", "fast")


@pytest.mark.slow
@pytest.mark.parametrize("name", LIKE)
def test_of_every_kind_of_network(name, tmp_path):
    compare(name, tmp_path)
