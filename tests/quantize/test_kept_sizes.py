"""A file for images of any size stays one when it becomes int8, or it is said that it does not."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
from any_graphs import CASES, Net
from onnx import helper, numpy_helper
from program import run_here

from edgecnn.artifact import read_manifest
from edgecnn.data.crops import random_crops
from edgecnn.parity import difference
from edgecnn.quantize.quantize_file import quantize_file
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.runtime import load, prepare
from edgecnn.runtime.image_files import sample_photo
from edgecnn.runtime.preparation_options import PreparationOptions
from edgecnn.runtime.preprocessing import Preprocessing

SIZES = ((48, 32), (64, 40), (16, 96))
HERE = Preprocessing(48, 32)


def reshaping() -> onnx.ModelProto:
    """A map whose pixels become a list, by a shape that is computed, as detectors do it: (n, pixels, 8)."""
    net = Net(48)
    f = net.stem()
    net.add("Shape", f, "shape")
    for name, value in (("first", 0), ("two", 2), ("three", 3), ("zero", [0]), ("eight", [8])):
        net.value(name, value)
    for axis in ("first", "two", "three"):
        net.add("Gather", f"shape {axis}", f"{axis}_size", axis=0)
    net.add("Mul", "two_size three_size", "pixels")
    net.add("Unsqueeze", "first_size zero", "ns")
    net.add("Unsqueeze", "pixels zero", "all")
    net.add("Concat", "ns eight all", "wanted", axis=0)
    net.add("Reshape", f"{f} wanted", "flat")
    net.add("Transpose", "flat", "y", perm=[0, 2, 1])
    return net.case({"x": ["n", 3, "h", "w"]}, ["y"], size=(48, 32)).model


def at_one_size(size: int) -> onnx.ModelProto:
    """A map that has something added at each of its pixels."""
    model = onnx.ModelProto()
    model.CopyFrom(CASES["any size, 48 x 32"]().model)
    values = np.zeros((1, 1, size, size), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "there"))
    last = model.graph.node[-1]
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("Add", ["before", "there"], ["y"], name="added"))
    return model


def quantized(model: onnx.ModelProto, folder, size=(48, 32), **options):
    onnx.save(model, folder / "float.onnx")
    request = QuantizeRequest(
        folder / "float.onnx", folder / "int8.onnx", target="cpu", effort="fast", calib_images=12,
        check_images=8, yes=True, force=True,
        preparation=PreparationOptions(size=size), **options,
    )  # fmt: skip
    return quantize_file(request)


def decibels_at(size, folder) -> float:
    """How near the int8 file is to the float file at a size."""
    prepared = dataclasses.replace(HERE, height=size[0], width=size[1])
    images = prepare.normalize(prepared, np.stack(list(random_crops([sample_photo()], prepared, 2, seed=0))))
    found = []
    for name in ("float.onnx", "int8.onnx"):
        session = onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        found.append(session.run(None, {"x": images})[0])
    return difference(*found)[1]


@pytest.mark.parametrize(
    ("name", "precision"),
    [("any size, 48 x 32", "int8"), ("any size, 48 x 32", "float16"), ("reshaping", "int8")],
)
def test_what_was_for_any_size_is_for_any_size(name, precision, tmp_path):
    model = reshaping() if name == "reshaping" else CASES[name]().model
    done = quantized(model, tmp_path) if precision == "int8" else _float16(model, tmp_path)
    (taken,) = done.manifest.inputs
    assert taken.shape == ("n", 3, "h", "w") and done.manifest.lineage[-1].parameters["sizes"] == "free"
    assert not any("one size" in text for text in done.notes)
    if precision == "int8":
        here = decibels_at(SIZES[0], tmp_path)
        assert all(decibels_at(size, tmp_path) > min(here, 40) - 6 for size in SIZES)
    with load(done.path) as engine:
        assert engine.inputs[0].shape == ("n", 3, "h", "w")
        assert engine.infer(np.zeros((2, 3, 64, 40), np.float32)) is not None


def _float16(model, folder):
    onnx.save(model, folder / "float.onnx")
    return quantize_file(
        QuantizeRequest(
            folder / "float.onnx",
            folder / "int8.onnx",
            precision="float16",
            calib_images=8,
            check_images=8,
            yes=True,
            preparation=PreparationOptions(size=(48, 32)),
        )
    )


def test_what_is_computed_beforehand_for_one_size_is_said_to_be(tmp_path):
    done = quantized(at_one_size(16), tmp_path, size=(32, 32))
    (text,) = [text for text in done.notes if "one size" in text]
    assert done.manifest.lineage[-1].parameters["sizes"] in text
    assert done.manifest.inputs[0].shape == ("n", 3, 32, 32)


def test_a_file_for_one_size_says_nothing(tmp_path):
    done = quantized(CASES["3 outputs, batch n"]().model, tmp_path, size=None)
    assert "sizes" not in done.manifest.lineage[-1].parameters


def test_the_commands_measure_it_at_other_sizes(tmp_path):
    quantized(CASES["any size, 48 x 32"]().model, tmp_path)
    for size in ("64x40", "48x32"):
        done = run_here("profile", str(tmp_path / "int8.onnx"), "--size", size, "--seconds", "0.1")
        assert done.returncode == 0, done.stderr
    target = tmp_path / "portable.onnx"
    done = run_here(
        "quantize", "--from", str(tmp_path / "int8.onnx"), "--target", "portable", "-o", str(target)
    )
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(target)
    assert manifest.inputs[0].shape == ("n", 3, "h", "w") and manifest.quantization["int8_mac_share"] > 0.5
