"""An ONNX file is read and hashed once for an engine, and its engine is found without reading it again."""

import pytest
from opened import reads

from edgecnn import files
from edgecnn.artifact import read_manifest
from edgecnn.compile.rebuild import engine_for
from edgecnn.model_content import content_sha256, inspect


@pytest.fixture
def source(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "m.onnx"
    path.write_bytes(exported("lenet5").read_bytes())
    return path


def test_an_inspected_file_was_opened_once(source):
    with reads() as counted:
        found = inspect(source)
    assert counted[source.resolve()] == 1
    assert found.manifest == read_manifest(source) and found.sha256 == content_sha256(source)
    assert "Gemm" in found.contents.operators


def test_an_engine_that_was_kept_costs_one_reading_of_its_file(source):
    with reads() as counted:
        engine = engine_for(source, "onnxruntime")
    # Once itself; the reference that the engine is checked against says what it is, and whether it loops.
    assert counted[source.resolve()] == 3
    with reads() as counted:
        assert engine_for(source, "onnxruntime") == engine
    assert counted[source.resolve()] == 1
    assert read_manifest(engine).engine.parent_sha256 == files.sha256(source)
