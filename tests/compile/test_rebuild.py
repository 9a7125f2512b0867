"""The cache of engines: one build at a time, by content, in a place that can be written."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from small_classifier import classifier

import edgecnn
from edgecnn.artifact import sidecar
from edgecnn.compile import CompileRequest, compile_file, rebuild, rebuilt
from edgecnn.errors import EngineError, InvalidValueError, OutputError
from edgecnn.runtime import load


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def outdated(tmp_path):
    """An engine that another version built."""
    path = compile_file(CompileRequest(classifier(tmp_path / "m.onnx"), backend="ort", threads=1)).path
    values = json.loads(sidecar(path).read_text())
    values["engine"]["needs"]["ONNX Runtime"] = ["1.2.3"]
    sidecar(path).write_text(json.dumps(values))
    return path


def test_two_that_ask_at_once_share_one_build(outdated, monkeypatch):
    compile_one, builds, both = rebuild.compile_file, [], threading.Barrier(2)

    def counted(request, progress, inspected):
        builds.append(request)
        return compile_one(request, progress, inspected)

    def ask():
        both.wait(5)
        with edgecnn.load(outdated, rebuild=True) as engine:
            return engine(np.ones((1, 3, 16, 16), np.float32))

    monkeypatch.setattr(rebuild, "compile_file", counted)
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(ask) for _ in range(2))
        np.testing.assert_array_equal(first.result(), second.result())
    assert len(builds) == 1


def test_the_runtime_alone_names_the_command_that_builds_it_anew(outdated, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("edgecnn.compile")]:
        monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
    with pytest.raises(EngineError, match=r"built for ONNX Runtime 1\.2\.3") as caught:
        load(outdated)
    assert caught.value.hint.startswith("edgecnn compile ") and "--backend onnxruntime" in caught.value.hint


def test_who_rebuilds_is_a_function(outdated):
    with pytest.raises(InvalidValueError) as caught:
        load(outdated, rebuild=True)
    assert "edgecnn.load(path, rebuild=True)" in caught.value.hint


def test_a_cache_that_cannot_be_written_is_one_line(outdated, cache):
    cache.write_bytes(b"a file where the folder should be")
    with pytest.raises(OutputError, match=r"engines cannot be kept in .*cache") as caught:
        load(outdated, rebuild=rebuilt)
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_other_weights_beside_the_same_file_are_another_engine(tmp_path):
    path = classifier(tmp_path / "m.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.data", size_threshold=0)
    graph, image = path.read_bytes(), np.ones((1, 3, 16, 16), np.float32)
    answers = []
    for factor in (1, 2):
        weights = np.fromfile(tmp_path / "w.data", np.float32)
        (factor * weights).tofile(tmp_path / "w.data")
        with load(rebuild.engine_for(path, "ort")) as engine:
            answers.append(engine(image))
    assert path.read_bytes() == graph and not np.allclose(*answers)


def test_an_engine_that_was_renamed_is_rebuilt_from_the_file_that_it_names(outdated):
    moved = outdated.rename(outdated.with_name("other name.ort"))
    sidecar(outdated).rename(sidecar(moved))
    with load(moved, rebuild=rebuilt) as engine:
        assert engine.path.name == "other name.ort" and engine.threads == 1
