"""Kernels that TensorRT-RTX compiles, kept between loads; the library is fake_gpu's."""

import warnings

import numpy as np
import pytest
from fake_gpu import driver, install
from small_classifier import classifier

from edgecnn.compile import BatchRange, CompileRequest, compile_file
from edgecnn.errors import EdgecnnWarning
from edgecnn.runtime import load

IMAGES = np.random.default_rng(0).random((4, 3, 16, 16), np.float32)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "edgecnn" / "kernels"


def build(tmp_path, monkeypatch, backend, version):
    fake = driver(tmp_path, monkeypatch)
    trt = install(tmp_path, monkeypatch, fake, backend, version)
    source = classifier(tmp_path / "m.onnx")
    request = CompileRequest(source, tmp_path / "m.engine", backend, batch=BatchRange(1, 1, 4))
    return compile_file(request).path, trt


@pytest.fixture
def rtx(tmp_path, monkeypatch, cache):
    path, trt = build(tmp_path, monkeypatch, "tensorrt-rtx", "1.7.1")
    for kept in cache.glob("*"):
        kept.unlink()
    trt.compiled.clear()
    return path, trt


def run(path, *counts):
    with load(path) as engine:
        return [engine(IMAGES[:count]) for count in counts]


def test_a_second_load_compiles_nothing(rtx, cache):
    path, trt = rtx
    first = run(path, 1, 4)
    assert [shape[0] for shape in trt.compiled] == [1, 4]
    trt.compiled.clear()
    second = run(path, 1, 4)
    assert trt.compiled == [] and len(list(cache.iterdir())) == 1
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_new_batch_is_added_to_what_is_kept(rtx):
    path, trt = rtx
    run(path, 1)
    run(path, 2)
    trt.compiled.clear()
    run(path, 1, 2, 3)
    assert [shape[0] for shape in trt.compiled] == [3]


def test_kernels_are_kept_before_the_engine_is_closed(rtx, cache):
    path, _ = rtx
    with load(path) as engine:
        engine(IMAGES[:1])
        assert len(list(cache.iterdir())) == 1


def test_kernels_of_another_gpu_are_replaced(rtx, cache):
    path, trt = rtx
    run(path, 1)
    (kept,) = cache.iterdir()
    kept.write_bytes(b"of another GPU")
    trt.compiled.clear()
    run(path, 1)
    run(path, 1)
    assert len(trt.compiled) == 1 and kept.read_bytes().startswith(b"kernels")


def test_where_they_cannot_be_kept_that_is_said_once_and_the_engine_runs(rtx, cache):
    path, trt = rtx
    cache.rmdir()
    cache.write_text("a file")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(path, 1, 2)
    told = [item for item in caught if issubclass(item.category, EdgecnnWarning)]
    assert len(told) == 1 and "compiled kernels are not kept" in str(told[0].message)
    assert len(trt.compiled) == 2


def test_tensorrts_engines_hold_their_kernels(tmp_path, monkeypatch, cache):
    path, _ = build(tmp_path, monkeypatch, "tensorrt", "10.3.0")
    run(path, 1)
    assert not cache.exists()


def test_the_real_library_has_what_is_called():
    trt = pytest.importorskip("tensorrt_rtx", reason="no wheel for this platform")
    assert {"create_runtime_cache", "set_runtime_cache"} <= set(dir(trt.IRuntimeConfig))
    assert {"serialize", "deserialize"} <= set(dir(trt.IRuntimeCache))
    assert hasattr(trt.IRuntimeConfig, "dynamic_shapes_kernel_specialization_strategy")
    assert "IRuntimeConfig" in trt.ICudaEngine.create_execution_context.__doc__
    assert hasattr(trt.ICudaEngine, "create_runtime_config")
