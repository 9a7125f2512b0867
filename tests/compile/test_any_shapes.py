"""Engines of several inputs and outputs, and of free sizes: TensorRT against a fake, and on a CPU."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from any_graphs import CASES
from fake_gpu import driver, install

from edgecnn import artifact
from edgecnn.compile import CompileRequest, compile_file
from edgecnn.compile.compile_request import SizeRange
from edgecnn.data.input_options import InputOptions, words
from edgecnn.errors import InvalidValueError
from edgecnn.runtime import load
from edgecnn.runtime.samples import unpack, zeros


@pytest.fixture
def trt(tmp_path, monkeypatch):
    module = install(tmp_path, monkeypatch, driver(tmp_path, monkeypatch, SM=89), "tensorrt", "10.3.0")
    module.backend = "tensorrt"
    return module


def written(name, folder):
    case = CASES[name]()
    onnx.save(case.model, folder / "m.onnx")
    return case, folder / "m.onnx"


def compiled(case, path, backend, **more):
    samples = case.write_samples(path.parent / "samples") if case.samples else None
    return compile_file(
        CompileRequest(
            path, backend=backend, check=samples, inputs=InputOptions(words(case.constants)), **more
        )
    )


SEVERAL = (
    "3 outputs, batch n",
    "image and vector, batch n, scalar True",
    "time first, batch 4",
    "index beside scores, batch 1",
)


@pytest.mark.parametrize("name", SEVERAL)
def test_tensorrt_takes_and_gives_any_number_of_tensors(trt, tmp_path, name):
    case, path = written(name, tmp_path)
    built = compiled(case, path, trt.backend)
    graph = case.model.graph
    floats = {value.name for value in graph.output} - set(case.integers)
    assert {item.name for item in built.parity.outputs} == floats and built.parity.sqnr_db > 90
    with load(built.path) as engine, load(path) as file:
        assert [spec.name for spec in engine.inputs] == [value.name for value in graph.input]
        given = unpack(zeros(engine.inputs), engine.inputs)
        found, expected = engine.infer(given), file.infer(given)
        for output, value in expected.items():
            assert found[output].shape == value.shape and found[output].dtype == value.dtype
            np.testing.assert_allclose(found[output], value, rtol=1e-4, atol=1e-5)


def test_a_range_of_sizes_is_an_optimization_profile(trt, tmp_path):
    case, path = written("any size, 48 x 32", tmp_path)
    built = compiled(case, path, trt.backend, sizes=SizeRange.parse("16x16:32x48:64x64"))
    (profile,) = trt.builds[-1].config.profile.by_name.values()
    assert profile == ((1, 3, 16, 16), (1, 3, 32, 48), (1, 3, 64, 64))
    assert built.parity.sqnr_db > 90
    with load(built.path) as engine, load(path) as file:
        for height, width in ((16, 16), (64, 48)):
            image = np.random.default_rng(0).normal(size=(1, 3, height, width)).astype(np.float32)
            np.testing.assert_allclose(engine(image), file(image), rtol=1e-4, atol=1e-5)


def test_one_size_is_built_in(trt, tmp_path):
    case, path = written("any size, 48 x 32", tmp_path)
    compiled(case, path, trt.backend, sizes=SizeRange.parse("48x32"))
    build = trt.builds[-1]
    assert build.config.profile is None and build.network.inputs[0].shape == (1, 3, 48, 32)


def test_a_size_that_is_missing_is_asked_for(trt, tmp_path):
    case, path = written("any size, 48 x 32", tmp_path)
    with pytest.raises(InvalidValueError, match="any size") as caught:
        compiled(case, path, trt.backend)
    assert "`sizes`" in caught.value.hint


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_on_a_cpu_free_sizes_stay_free(tmp_path, backend):
    case, path = written("any size, 48 x 32", tmp_path)
    built = compiled(case, path, backend, sizes=SizeRange.parse("16:32x48:64"))
    assert built.parity.sqnr_db > 90
    with load(built.path) as engine, load(path) as file:
        for height, width in ((16, 16), (64, 48)):
            image = np.random.default_rng(0).normal(size=(1, 3, height, width)).astype(np.float32)
            np.testing.assert_allclose(engine(image), file(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", ["64:32:16", "16x16:32x8:64x64", "1:2", "0", "16xx3", ""])
def test_sizes_that_cannot_be_are_refused(text):
    with pytest.raises(InvalidValueError):
        SizeRange.parse(text)


def test_samples_of_other_networks_are_compared_on_what_they_take(tmp_path):
    case, path = written("tokens, batch n", tmp_path)
    built = compiled(case, path, "openvino")
    assert {item.name for item in built.parity.outputs} == {"y", "words"} and built.parity.images == 16
    with pytest.raises(InvalidValueError, match="takes no image at 'ids', but n x 8 int64"):
        compile_file(CompileRequest(path, backend="openvino"))


def test_the_manifest_of_an_engine_names_all_tensors(tmp_path):
    case, path = written("image and vector, batch n, scalar True", tmp_path)
    built = compiled(case, path, "openvino")
    record = json.loads(artifact.sidecar(built.path).read_text())
    assert [item["name"] for item in record["inputs"]] == ["x", "v", "t"]
    assert record["inputs"][2]["shape"] == [] and record["outputs"][0]["name"] == "y"
