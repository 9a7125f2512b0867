"""An engine on a GPU that is none (fake_gpu)."""

import pytest
from fake_gpu import driver, install
from small_classifier import classifier

from edgecnn.compile import BatchRange, CompileRequest, compile_file


@pytest.fixture
def fake(tmp_path, monkeypatch):
    library = driver(tmp_path, monkeypatch)
    yield library
    assert library.fake_live() == 0, "something was not freed"
    assert library.fake_depth() == 0, "a context was left current"


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def engine_file(request, tmp_path, monkeypatch, fake):
    """Return a function that builds an engine for a batch; the fake library is `engine_file.trt`."""
    version = {"tensorrt": "10.3.0", "tensorrt-rtx": "1.7.1"}[request.param]

    def make(batch=None, **classifier_options):
        source = classifier(tmp_path / "m.onnx", **classifier_options)
        asked = BatchRange.parse(batch) if batch else None
        return compile_file(CompileRequest(source, tmp_path / "m.engine", request.param, batch=asked)).path

    make.trt = install(tmp_path, monkeypatch, fake, request.param, version)
    return make
