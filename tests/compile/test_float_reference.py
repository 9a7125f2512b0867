"""An int8 engine that is far from its int8 file: the float file decides, where it can be had."""

import dataclasses
import hashlib

import numpy as np
import onnx
import pytest
from PIL import Image
from small_classifier import classifier

from edgecnn.artifact import METADATA_KEY, Manifest, Step, TensorSpec, read_manifest
from edgecnn.compile import CompileRequest, compile_file, ort_builder
from edgecnn.errors import InvalidValueError, ParityError
from edgecnn.runtime.preprocessing import Preprocessing


@pytest.fixture
def network(tmp_path):
    """The float file: its bytes are known by their hash in what is made from it."""
    return classifier(tmp_path / "float.onnx")


def disturbed(network, path, decibels, seed):
    """Write the network with so much noise in its weights, as an int8 file that was made from it.

    How it computes says nothing: what counts is what it gives.
    """
    model = onnx.load(network)
    rng = np.random.default_rng(seed)
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        noise = rng.normal(size=value.shape) * np.sqrt(np.mean(value**2)) * 10 ** (-decibels / 20)
        tensor.CopyFrom(onnx.numpy_helper.from_array((value + noise).astype(np.float32), tensor.name))
    manifest = Manifest(
        (TensorSpec("x", ("N", 3, 16, 16), "float32", "NCHW"),),
        (TensorSpec("logits", ("N", 5), "float32", "NC"),),
        preprocessing=Preprocessing(16).to_json(),
        precision="int8",
        quantization={"scheme": "cpu"},
        lineage=(Step("quantize", parent=hashlib.sha256(network.read_bytes()).hexdigest()),),
    )
    model.metadata_props.add(key=METADATA_KEY, value=manifest.to_json())
    onnx.save(model, path)
    return path


@pytest.fixture
def build_from(monkeypatch):
    """Return a function that makes every engine one of another file, as if the library rounded so."""
    build = ort_builder.build

    def instead(other):
        monkeypatch.setattr(
            ort_builder,
            "build",
            lambda source, request, progress: build(
                dataclasses.replace(source, path=other), request, progress
            ),
        )

    return instead


def test_the_float_file_beside_it_decides(network, tmp_path, build_from):
    source = disturbed(network, tmp_path / "m.onnx", 18, seed=1)
    build_from(disturbed(network, tmp_path / "other.onnx", 24, seed=2))
    done = compile_file(CompileRequest(source, tmp_path / "m.ort", "ort"))
    assert done.parity.sqnr_db < 20 and done.against_float.path.name == "float.onnx"
    assert done.against_float.engine.sqnr_db > done.against_float.file.sqnr_db - 1
    assert done.to_json()["against_float"]["engine"]["images"] == 32
    assert read_manifest(done.path).lineage[-1].extra["against_float"]["path"] == "float.onnx"


def test_an_engine_that_is_worse_than_its_file_is_refused(network, tmp_path, build_from):
    source = disturbed(network, tmp_path / "m.onnx", 18, seed=1)
    build_from(disturbed(network, tmp_path / "other.onnx", 6, seed=2))
    with pytest.raises(ParityError, match=r"keeps [-\d.]+ dB of float\.onnx, and the ONNX file"):
        compile_file(CompileRequest(source, tmp_path / "m.ort", "ort"))
    assert not (tmp_path / "m.ort").exists()


def test_without_the_float_file_it_is_asked_for_and_can_be_anywhere(network, tmp_path, build_from):
    source = disturbed(network, tmp_path / "m.onnx", 18, seed=1)
    build_from(disturbed(network, tmp_path / "other.onnx", 24, seed=2))
    (tmp_path / "elsewhere").mkdir()
    moved = network.rename(tmp_path / "elsewhere" / "f.onnx")
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    with pytest.raises(ParityError, match=r"does not agree with m\.onnx") as caught:
        compile_file(CompileRequest(source, tmp_path / "m.ort", "ort"))
    assert "`reference` FLOAT.onnx" in caught.value.hint
    done = compile_file(CompileRequest(source, tmp_path / "m.ort", "ort", reference=moved))
    assert done.against_float.path == moved


def test_a_reference_is_the_float_form_of_an_int8_file(network, tmp_path, exported):
    source = disturbed(network, tmp_path / "m.onnx", 18, seed=1)
    for wrong in (exported("lenet5"), disturbed(network, tmp_path / "other.onnx", 18, seed=2)):
        with pytest.raises(InvalidValueError, match=r"is not the float network of m\.onnx"):
            compile_file(CompileRequest(source, tmp_path / "m.ort", "ort", reference=wrong))
    with pytest.raises(InvalidValueError, match="no int8 file of edgecnn"):
        compile_file(CompileRequest(network, tmp_path / "m.ort", "ort", reference=network))


def test_of_a_folder_all_images_check(network, tmp_path):
    source = disturbed(network, tmp_path / "m.onnx", 18, seed=1)
    rng = np.random.default_rng(0)
    for count in (3, 36):
        folder = tmp_path / str(count)
        folder.mkdir()
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"{index}.png")
        done = compile_file(CompileRequest(source, tmp_path / "m.ort", "ort", check=folder))
        assert done.parity.images == min(32, count)
