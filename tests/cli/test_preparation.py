"""The options that say how images are prepared, of a file that does not say it, in the commands."""

import json

import numpy as np
import onnx
import pytest
from PIL import Image
from program import run_here
from small_classifier import classifier

from edgecnn.artifact import read_manifest
from edgecnn.runtime import Preprocessing, load, prepare

SAID = ("--prepare", "caffe", "--fit", "letterbox", "--pad", "9", "--interpolation", "bilinear")
MEANT = Preprocessing(
    16, fit="letterbox", pad=(9,), color="bgr", pixels=255, mean=(103.939, 116.779, 123.68), std=(1.0,) * 3
)


@pytest.fixture
def foreign(tmp_path):
    return classifier(tmp_path / "m.onnx")


@pytest.fixture
def photographs(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(4):
        folder = tmp_path / "photos" / f"class{index % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20 + index, 31, 3), np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "photos"


def test_predict_prepares_as_is_said(foreign, photographs):
    photo = photographs / "class0" / "0.png"
    done = run_here("predict", str(foreign), str(photo), *SAID, "--json")
    (told,) = json.loads(done.stdout)["predictions"]
    with load(foreign) as engine:
        logits = engine(prepare.batch(MEANT, [photo]))
    best = told["classes"][0]
    assert best["index"] == logits.argmax()
    exponents = np.exp(logits - logits.max())
    assert best["probability"] == pytest.approx((exponents / exponents.sum()).max(), abs=1e-6)


def test_compile_checks_on_images_that_are_prepared_so_and_its_engine_says_it(foreign, photographs, tmp_path):
    refused = run_here("compile", str(foreign), "--backend", "ort", "--check", str(photographs))
    assert refused.returncode == 1 and "does not say how its images are prepared" in refused.stderr
    done = run_here(
        "compile", str(foreign), "--backend", "ort", "-o", str(tmp_path / "m.ort"), "--check",
        str(photographs), *SAID,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Preprocessing.from_json(read_manifest(tmp_path / "m.ort").preprocessing) == MEANT


def test_profile_measures_a_file_of_free_size_at_the_size_that_is_said(foreign):
    model = onnx.load(foreign)
    for axis, name in ((2, "h"), (3, "w")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.save(model, foreign)
    short = ("--seconds", "0.1", "--no-store")
    refused = run_here("profile", str(foreign), *short)
    assert refused.returncode == 1 and "say which: --size 224" in refused.stderr
    done = run_here("profile", str(foreign), *short, "--size", "24x40")
    assert done.returncode == 0, done.stderr


def test_quantize_is_told_a_preparation_and_keeps_it(foreign, tmp_path):
    options = ("-o", str(tmp_path / "q.onnx"), "--force", "--calib-images", "4")
    done = run_here("quantize", str(foreign), *options, *SAID)
    assert done.returncode == 0 and "does not say" not in done.stderr, done.stderr
    manifest = read_manifest(tmp_path / "q.onnx")
    assert Preprocessing.from_json(manifest.preprocessing) == MEANT
    assert manifest.lineage[-1].parameters["asked"]["preparation"]["prepare"] == "caffe"


@pytest.mark.parametrize(
    "command", ["predict {} {}", "profile {} --no-store", "eval {} --data {} --no-store"]
)
def test_another_size_than_the_files_is_refused(foreign, photographs, command):
    done = run_here(*command.format(foreign, photographs).split(), "--size", "24x40")
    said = done.stderr.splitlines()
    assert done.returncode == 1 and "takes images of 16 x 16 pixels, not 24 x 40" in said[-2]
