"""A file that does not say how its images are prepared is stopped where what is assumed cannot be."""

import json

import numpy as np
import onnx
import pytest
from foreign_preparation import MEAN, STD, TAKES, foreign
from onnx import numpy_helper, parser
from program import SMALL
from program import run_here as run

from edgecnn.artifact import read_manifest
from edgecnn.data import builtin
from edgecnn.quantize import first_norm
from edgecnn.quantize.assumed_preprocessing import _cannot_be, _Seen
from edgecnn.runtime.preprocessing import Preprocessing

FEW = ("--calib-images", "8", "--check-images", "16", "--effort", "fast")


@pytest.fixture(scope="module")
def network(exported):
    return exported(*SMALL)


@pytest.mark.parametrize("takes", TAKES)
def test_only_a_network_for_pixels_of_0_to_255_is_stopped(network, tmp_path, takes):
    source, out = foreign(network, tmp_path / "m.onnx", takes), tmp_path / "q.onnx"
    done = run("quantize", source, "-o", str(out), *FEW)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("note: the file does not say how its images are prepared"), "before the work"
    assert "note: the file does not say" not in done.stdout, "once"
    if takes != "0..255":
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 1 and not out.exists()
    assert "seems to take pixels of 0..255" in done.stderr and "--yes" in done.stderr
    hint = next(line for line in lines if line.startswith("hint: "))
    said = hint.removeprefix("hint: ").partition(",  or")[0].partition(", or")[0].split()
    done = run("quantize", source, "-o", str(out), *FEW, *said, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["notes"] == [], done.stderr
    assert said == ["--pixels", "255"] and read_manifest(out).preprocessing["pixels"] == 255
    done = run("quantize", source, "-o", str(out), *FEW, "--yes", "--json")
    assert done.returncode in (0, 3) and "does not say" in json.loads(done.stdout)["notes"][0]


@pytest.mark.parametrize(
    ("assumed", "pixels", "stopped"),
    [
        ((0.021, 0.41, 0.81), (1.22, 0.89, 0.34), True),  # EfficientNet-Lite0 for 0..255: surer
        ((0.034, 0.029, 0.99), (1.95, 0.79, 0.97), True),  # MobileNet for 0..255: livelier
        ((0.016, 0.016, None), (0.94, 0.91, None), True),  # no classes
        ((0.016, 0.016, 0.5), (0.94, 0.91, 0.6), False),  # livelier, but less sure
        ((0.016, 0.41, None), (0.94, 0.91, None), False),
        ((5.41, 0.86, 0.46), (312, 0.68, 0.63), False),  # EfficientNet-Lite0 for 0..1
        ((0.41, 0.05, 0.9), (0.5, 0.9, 0.3), False),  # a lively first layer
    ],
)
def test_a_quiet_first_layer_and_a_livelier_or_surer_output_say_0_to_255(assumed, pixels, stopped):
    assert _cannot_be(_Seen(*assumed), _Seen(*pixels)) is stopped


NAMES = {"0..1": "0..1", "0..255": "0..255", "caffe": "0..255 less ImageNet's mean"}
PREPARED = {
    "ImageNet": (MEAN, STD),
    "-1..1": (np.full(3, 0.5), np.full(3, 0.5)),
    "0..1": (np.zeros(3), np.ones(3)),
    "0..255": (np.zeros(3), np.full(3, 1 / 255)),
    "caffe": (MEAN, np.full(3, 1 / 255)),
}


def normalized(path, takes, *, first=False, recorded=True):
    """A network with the batch normalization that trained on pictures that were prepared in one way."""
    mean, std = PREPARED[takes]
    frames = builtin.frames(Preprocessing(32), 64, check=False, digit_images=False)
    inputs = ((frames / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(16, 3, 1, 1)).astype(np.float32)
    seen = inputs if first else np.einsum("nchw,oc->nohw", inputs, weights[:, :, 0, 0])
    statistics = seen.mean((0, 2, 3)), seen.var((0, 2, 3))
    if not recorded:
        weights *= 0.01  # with which pixels of 0..255 would fit
        statistics = np.zeros(seen.shape[1]), np.ones(seen.shape[1])
    values = {"w": weights, "s": np.ones(seen.shape[1]), "b": np.zeros(seen.shape[1])}
    values |= {"m": statistics[0], "v": statistics[1], "u": rng.normal(size=(16, 10))}
    if first:
        lines, last = "n = BatchNormalization(x, s, b, m, v)\n c = Conv(n, w)", "c"
    else:
        lines, last = "c = Conv(x, w)\n n = BatchNormalization(c, s, b, m, v)", "n"
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[N, 3, 32, 32] x) => (float[N, 10] y) {'
        f" {lines}\n r = Relu({last})\n p = GlobalAveragePool(r)\n"
        " f = Flatten(p)\n y = Gemm(f, u)\n}"
    )
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("first", [False, True], ids=["after a convolution", "first"])
@pytest.mark.parametrize("takes", PREPARED)
def test_what_the_first_batch_normalization_recorded_says_how_images_are_prepared(tmp_path, takes, first):
    model = onnx.load(normalized(tmp_path / "m.onnx", takes, first=first))
    frames = builtin.frames(Preprocessing(32), 8, check=True, digit_images=False)
    found = first_norm.misfit(model, Preprocessing(32), frames)
    assert (found and found.other) == NAMES.get(takes)
    mean, std = PREPARED[takes]
    assert first_norm.misfit(model, Preprocessing(32, mean=tuple(mean), std=tuple(std)), frames) is None


def test_a_batch_normalization_that_never_trained_says_nothing(tmp_path):
    model = onnx.load(normalized(tmp_path / "m.onnx", "0..255", recorded=False))
    frames = builtin.frames(Preprocessing(32), 8, check=True, digit_images=False)
    assert first_norm.misfit(model, Preprocessing(32), frames) is None


def test_a_network_for_pixels_of_0_to_1_is_stopped_by_its_batch_normalization(tmp_path):
    source, out = normalized(tmp_path / "m.onnx", "0..1"), tmp_path / "q.onnx"
    done = run("quantize", source, "-o", str(out), *FEW)
    assert done.returncode == 1 and not out.exists() and "batch normalization recorded" in done.stderr
    said = "--pixels 1"
    assert f"hint: {said}, or --yes" in done.stderr
    for words in (said.split(), ["--yes"]):
        done = run("quantize", source, "-o", str(out), *FEW, *words)
        assert done.returncode in (0, 3) and out.exists(), done.stderr
