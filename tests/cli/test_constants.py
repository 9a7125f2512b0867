"""The values of inputs that are no images are kept: whoever said them once need not say them again."""

import json

import numpy as np
import onnx
import pytest
from any_graphs import CASES
from PIL import Image
from program import run_here

from edgecnn.artifact import read_manifest
from edgecnn.runtime import load

VECTOR = (1, -0.5, 0.25, 2, 1, 0.5)
SAID = ("--input", "v=1,-0.5,0.25,2,1,0.5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A float file of an image and a vector, its int8 file, and pictures of five classes."""
    path = tmp_path_factory.mktemp("constants")
    onnx.save(CASES["image and vector, batch n, scalar False"]().model, path / "float.onnx")
    draws = np.random.default_rng(0)
    for kind in "abcde":
        (path / "photos" / kind).mkdir(parents=True)
        for number in range(3):
            pixels = draws.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(path / "photos" / kind / f"{number}.png")
    done = run_here(
        "quantize", str(path / "float.onnx"), "-o", str(path / "int8.onnx"), "--target", "cpu", "--effort",
        "fast", "--calib", str(path / "photos"), "--prepare", "imagenet", "--force", *SAID,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return path


def predicted(folder, *more: str) -> list:
    done = run_here("predict", str(folder / "int8.onnx"), str(folder / "photos/a/0.png"), "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["predictions"]


def test_what_quantized_a_file_stands_in_its_manifest(folder):
    assert read_manifest(folder / "int8.onnx").constants == {"v": VECTOR}
    assert read_manifest(folder / "float.onnx") is None


def test_later_commands_need_not_be_told(folder, tmp_path):
    int8 = str(folder / "int8.onnx")
    for arguments in (
        ["profile", int8, "--seconds", "0.1"],
        ["predict", int8, str(folder / "photos/a/0.png")],
        ["eval", int8, "--data", str(folder / "photos"), "--reference", int8],
        ["compile", int8, "--backend", "ort", "-o", str(tmp_path / "m.ort")],
        ["profile", str(tmp_path / "m.ort"), "--seconds", "0.1"],
        ["quantize", "--from", int8, "--target", "portable", "-o", str(tmp_path / "p.onnx")],
        ["profile", str(tmp_path / "p.onnx"), "--seconds", "0.1"],
    ):
        done = run_here(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)


def test_an_option_goes_before_what_the_file_says(folder):
    assert predicted(folder) == predicted(folder, *SAID) != predicted(folder, "--input", "v=0")
    done = run_here("predict", str(folder / "int8.onnx"), str(folder / "photos/a/0.png"), "--input", "w=0")
    assert done.returncode == 1 and "has no input 'w'" in done.stderr and "'v'" in done.stderr


def test_describe_writes_it_into_a_file_from_elsewhere(folder, tmp_path):
    path = tmp_path / "described.onnx"
    done = run_here("describe", str(folder / "float.onnx"), "-o", str(path), *SAID)
    assert done.returncode == 0, done.stderr
    with load(path) as engine:
        image = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
        vectors = np.tile(np.float32(VECTOR), (2, 1))
        np.testing.assert_array_equal(
            engine(engine.with_constants(image)), engine({"x": image, "v": vectors})
        )
    assert run_here("profile", str(path), "--seconds", "0.1").returncode == 0


def test_without_either_it_is_asked_for(folder):
    done = run_here("profile", str(folder / "float.onnx"), "--seconds", "0.1")
    assert done.returncode == 1 and "--input v=VALUE" in done.stderr
