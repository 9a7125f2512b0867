"""The C++ and browser examples prepare an image as the runtime does, to the byte."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from framework_preparations import GOLDEN, INPUTS, pictures, sha256
from PIL import Image

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.runtime import Preprocessing, prepare
from edgecnn.runtime.named_preparations import NAMED_PREPARATIONS

HERE = Path(__file__).parent
LABELS = ("espresso", 'naïve "cup"', "\U0001f30a\n")

# Prints the bytes of the network's input, from a manifest and a photograph, RGB or RGBA.
Program = Callable[[Path, Image.Image], subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def cpp(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler: apt install g++")
    folder = tmp_path_factory.mktemp("cpp")
    program = folder / "frame_bytes"
    options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-I", examples / "cpp/common"]
    subprocess.run([compiler, *options, HERE / "frame_bytes.cpp", "-o", program], check=True)

    def run(manifest: Path, photo: Image.Image) -> subprocess.CompletedProcess:
        if photo.mode == "RGBA":
            (folder / "rgba").write_bytes(photo.tobytes())
            given = [folder / "rgba", *map(str, photo.size)]
        else:
            photo.save(folder / "photo.ppm")
            given = [folder / "photo.ppm"]
        return subprocess.run([program, manifest, *given], capture_output=True, check=True)

    return run


@pytest.fixture(scope="module")
def browser(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js to run the page's code: apt install nodejs")
    folder = tmp_path_factory.mktemp("browser")

    def run(manifest: Path, photo: Image.Image) -> subprocess.CompletedProcess:
        (folder / "rgba").write_bytes(photo.convert("RGBA").tobytes())
        command = [node, HERE / "frame_bytes.mjs", examples / "browser" / "image.js", manifest]
        command += [folder / "rgba", *map(str, photo.size)]
        return subprocess.run(command, capture_output=True, check=True)

    return run


@pytest.fixture(params=["cpp", "browser"])
def program(request: pytest.FixtureRequest) -> Program:
    return request.getfixturevalue(request.param)


def manifest_file(folder: Path, preprocessing: Preprocessing, dtype: str) -> Path:
    size, channels = preprocessing.size, preprocessing.channels
    shape = ("batch", *size, channels) if dtype == "uint8" else ("batch", channels, *size)
    manifest = Manifest(
        inputs=(TensorSpec("input", shape, dtype, "NHWC" if dtype == "uint8" else "NCHW"),),
        outputs=(TensorSpec("logits", ("batch", 3), "float32", "NC"),),
        preprocessing=preprocessing.to_json(),
        labels=LABELS,
    )
    path = folder / "manifest.json"
    path.write_text(manifest.to_json())
    return path


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("shape", "size", "crop"),
    [
        ((400, 600), 224, 0.875),
        ((600, 401), 99, 0.9),  # upright, with a crop that begins at half a pixel
        ((90, 60), 128, 0.875),  # enlarged
        ((224, 224), 224, 1.0),  # left as it is
    ],
)
def test_frames_have_the_bytes_of_the_runtimes(coffee, tmp_path, program, shape, size, crop, interpolation):
    photo = Image.open(coffee).convert("RGB").crop((0, 0, shape[1], shape[0]))
    preprocessing = Preprocessing(size, crop=crop, interpolation=interpolation)
    got = program(manifest_file(tmp_path, preprocessing, "uint8"), photo).stdout
    expected = prepare.frame(preprocessing, photo)
    assert np.array_equal(np.frombuffer(got, np.uint8).reshape(expected.shape), expected)


def test_grey_frames_have_the_bytes_of_the_runtimes(coffee, tmp_path, program):
    photo = Image.open(coffee).convert("RGB")
    preprocessing = Preprocessing(28).with_channels(1)
    got = program(manifest_file(tmp_path, preprocessing, "uint8"), photo).stdout
    assert got == prepare.frame(preprocessing, photo).tobytes()


@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_pixels_are_composed_as_the_runtime_does(coffee, tmp_path, program, channels):
    photo = Image.open(coffee).convert("RGB").crop((0, 0, 300, 200))
    alpha = np.random.default_rng(0).integers(0, 256, (200, 300), np.uint8)
    photo.putalpha(Image.fromarray(alpha * (alpha > 80)))
    preprocessing = Preprocessing(64).with_channels(channels)
    got = program(manifest_file(tmp_path, preprocessing, "uint8"), photo).stdout
    expected = prepare.frame(preprocessing, photo)
    assert not np.array_equal(expected, prepare.frame(preprocessing, photo.convert("RGB")))
    assert got == expected.tobytes()


def test_a_float_input_is_normalized_with_channels_first(coffee, tmp_path, program):
    photo = Image.open(coffee).convert("RGB")
    got = program(manifest_file(tmp_path, Preprocessing(64), "float32"), photo).stdout
    expected = prepare.batch(Preprocessing(64), [photo])
    assert np.allclose(np.frombuffer(got, np.float32).reshape(expected.shape), expected, atol=1e-6)


def test_labels_in_a_manifest_keep_their_characters(coffee, tmp_path, cpp):
    done = cpp(manifest_file(tmp_path, Preprocessing(32), "uint8"), Image.open(coffee).convert("RGB"))
    assert done.stderr.decode() == "".join(f"{label}\n" for label in LABELS)


@pytest.mark.parametrize("preparation", [*NAMED_PREPARATIONS, "lanczos", "box", "grey", "yolox", "first"])
def test_every_preparation_has_the_bytes_of_the_runtimes(tmp_path, program, preparation):
    """Frames to the byte, and what is normalized too, of pictures with odd sides."""
    said = {
        "lanczos": Preprocessing(33, 50, fit="stretch", interpolation="lanczos"),
        "box": Preprocessing(50, 33, interpolation="box", crop=0.9),
        "grey": Preprocessing(31, 40, fit="letterbox", color="grey", mean=(0.5,) * 3, std=(0.25,) * 3),
        "yolox": Preprocessing(64, 48, fit="letterbox-corner", pad=(1, 2, 3), color="bgr", pixels=255),
        "first": Preprocessing(40),
        **{name: row.at((96, 128)) for name, row in NAMED_PREPARATIONS.items()},
    }
    preprocessing, rng = said[preparation], np.random.default_rng(0)
    for shape, dtype in (((301, 97), "uint8"), ((53, 71), "float32")):
        small = Image.fromarray(rng.integers(0, 256, (9, 11, 3), np.uint8))
        photo = small.resize(shape[::-1], Image.Resampling.BICUBIC)
        path = manifest_file(tmp_path, preprocessing, dtype)
        if preparation == "first":  # as the first manifests have it
            values = json.loads(path.read_text())
            kept = ("size", "crop", "interpolation", "mean", "std")
            values["preprocessing"] = {key: values["preprocessing"][key] for key in kept}
            path.write_text(json.dumps(values))
        got = program(path, photo).stdout
        frame = prepare.frame(preprocessing, photo)
        expected = frame if dtype == "uint8" else prepare.normalize(preprocessing, frame[None])
        assert got == expected.tobytes(), (shape, dtype)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", list(csv.DictReader(GOLDEN.open())), ids=lambda row: "-".join([*row.values()][:2])
)
def test_frames_are_those_of_the_frameworks(tmp_path, program, row):
    """Of 50 pictures, as the frameworks themselves prepare them."""
    preprocessing = NAMED_PREPARATIONS[row["preparation"]].at(INPUTS[row["input"]])
    manifest = manifest_file(tmp_path, preprocessing, "uint8")
    for index, picture in enumerate(pictures()):
        got = np.frombuffer(program(manifest, Image.fromarray(picture)).stdout, np.uint8)
        assert sha256(got) == row[str(index)], index


@pytest.mark.parametrize("change", [{"interpolation": "hamming"}, {"fit": "tile"}])
def test_what_is_not_written_there_is_refused(coffee, tmp_path, program, change):
    path = manifest_file(tmp_path, Preprocessing(), "uint8")
    values = json.loads(path.read_text())
    values["preprocessing"] |= change
    path.write_text(json.dumps(values))
    with pytest.raises(subprocess.CalledProcessError):
        program(path, Image.open(coffee).convert("RGB"))


def test_the_page_finds_the_manifest_in_an_onnx_file(exported, examples):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js to run the page's code: apt install nodejs")
    from edgecnn.artifact import read_manifest

    path = exported("mobilenet", "--alpha", "0.5")
    script = (
        "import { readFileSync } from 'node:fs';"
        f"import {{ readManifest }} from '{examples / 'browser' / 'manifest.js'}';"
        f"console.log(JSON.stringify(readManifest(readFileSync('{path}'))));"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == json.loads(read_manifest(path).to_json())
