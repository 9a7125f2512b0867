"""TensorRT engines that will not run here are refused in one line, on a GPU that is none (fake_gpu)."""

import shutil

import pytest

from edgecnn import artifact
from edgecnn.errors import ArtifactError, EngineError, InvalidValueError
from edgecnn.runtime import load, tensorrt_engine


def test_it_runs_on_no_cpu(engine_file):
    with pytest.raises(InvalidValueError, match="NVIDIA GPU, not on 'cpu'"):
        load(engine_file(), device="cpu")


def test_a_gpu_of_another_capability_is_refused(engine_file):
    path = engine_file()
    manifest = artifact.read_manifest(path)
    text = manifest.to_json().replace('"compute capability":["8.9"]', '"compute capability":["8.6"]')
    artifact.sidecar(path).write_text(text)
    with pytest.raises(EngineError, match=r"built for compute capability 8\.6; here it is 8\.9") as caught:
        load(path)
    assert "edgecnn compile" in caught.value.hint


def test_another_version_is_refused(engine_file, tmp_path):
    path = engine_file()
    (information,) = tmp_path.glob("*.dist-info")
    metadata = information / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 10.3.0", "Version: 10.4.0"))
    metadata.write_text(metadata.read_text().replace("Version: 1.7.1", "Version: 1.8.0"))
    with pytest.raises(EngineError, match=r"was built for TensorRT.*; here it is 1"):
        load(path)


def test_no_gpu_is_a_clear_refusal(engine_file, monkeypatch):
    path = engine_file()
    monkeypatch.setattr("edgecnn.runtime.cuda.LIBRARY", "libcuda_absent.so.1")
    with pytest.raises(EngineError, match=r"built for compute capability 8\.9; here it is none: there is no"):
        load(path)


def test_a_damaged_engine_never_reaches_the_library(engine_file):
    path = engine_file()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="damaged"):
        load(path)


def test_what_the_library_refuses_is_one_line_with_the_command(engine_file, fake):
    path = engine_file()
    path.write_bytes(b"{")
    with pytest.raises(EngineError, match="magic tag does not match") as caught:
        tensorrt_engine.TensorRtEngine(path, artifact.read_manifest(path))
    assert "edgecnn compile" in caught.value.hint


def test_an_engine_without_its_record_is_refused(engine_file, tmp_path):
    alone = tmp_path / "alone.engine"
    shutil.copy(engine_file(), alone)
    with pytest.raises(ArtifactError, match=r"no alone\.engine\.json beside it"):
        load(alone)
