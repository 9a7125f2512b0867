"""The fastest engine that agrees; why the others are not there."""

import json

import pytest
from program import SMALL, run_here

from edgecnn.compile import CompileRequest, builders, fastest_engine
from edgecnn.compile.fastest_engine import compile_fastest
from edgecnn.errors import EngineError
from edgecnn.runtime import load


@pytest.fixture
def source(exported, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(exported(*SMALL).read_bytes())
    return path


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(fastest_engine, "_SECONDS", 0.05)


def test_the_fastest_that_agrees_is_written_and_all_are_listed(source, coffee):
    tried = compile_fastest(CompileRequest(source, threads=1))
    times = {t.backend.name: t.latency.milliseconds["p50"] for t in tried.trials if t.latency}
    assert {"onnxruntime", "openvino"} <= set(times)
    assert tried.kept.backend.name == min(times, key=times.get)
    assert tried.kept.path.stem == "m" and tried.kept.path.parent == source.parent
    assert [t.backend.name for t in tried.trials] == ["onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"]
    assert all(t.reason for t in tried.trials if not t.latency)
    with load(tried.kept.path) as engine, load(source) as file:
        assert engine.predict(coffee)[0][0].index == file.predict(coffee)[0][0].index


def test_an_emulated_machine_is_noted_with_every_time(source, monkeypatch):
    monkeypatch.setattr("edgecnn.measure.sensors.linux.emulated", lambda root: True)
    rows = compile_fastest(CompileRequest(source, threads=1)).to_json()["tried"]
    noted = ["this machine is emulated: its times say nothing of a board" in row["notes"] for row in rows]
    assert noted == [row["latency_ms"] is not None for row in rows] and any(noted)


def failing(reason):
    def build(source, request, progress):
        raise EngineError(reason)

    return build


def test_what_fails_is_a_row_with_its_reason(source, monkeypatch):
    real = builders.builder

    def pick(backend):
        return real(backend) if backend.name == "onnxruntime" else failing("no such luck")

    monkeypatch.setattr("edgecnn.compile.build_engine.builder", pick)
    tried = compile_fastest(CompileRequest(source))
    assert tried.kept.backend.name == "onnxruntime"
    assert [t.reason for t in tried.trials][1:] == ["no such luck"] * 3


def test_where_nothing_can_be_built_all_reasons_are_said(source, monkeypatch):
    monkeypatch.setattr("edgecnn.compile.build_engine.builder", lambda backend: failing("broken"))
    with pytest.raises(EngineError, match="ONNX Runtime: broken; OpenVINO: broken"):
        compile_fastest(CompileRequest(source))
    assert {path.name for path in source.parent.iterdir()} == {"m.onnx"}


def test_a_target_that_is_this_machine_may_be_named(source, monkeypatch):
    class Orin:
        compute_capability = "8.7"

    monkeypatch.setattr("edgecnn.runtime.cuda.Device", Orin)
    tensorrt = failing("no such luck")
    real = builders.builder

    def pick(backend):
        return tensorrt if backend.name.startswith("tensorrt") else real(backend)

    monkeypatch.setattr("edgecnn.compile.build_engine.builder", pick)
    tried = compile_fastest(CompileRequest(source, threads=1, target="jetson-orin-nano"))
    assert [t.latency is not None for t in tried.trials] == [True, True, False, False]


def test_what_is_no_onnx_file_is_said_once(coffee, tmp_path):
    done = run_here("compile", str(coffee))
    assert done.returncode == 1 and done.stderr.count("is not an ONNX file") == 1


def test_the_command_prints_one_object(source):
    done = run_here("compile", str(source), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["backend"] in ("onnxruntime", "openvino") and len(result["tried"]) == 4
    assert result["engine"]["parent"] == "m.onnx" and result["parity"]["images"] == 32


def test_the_command_refuses_in_one_line(source, tmp_path):
    for arguments, sentence in (
        (("--backend", "opnvino"), "unknown backend 'opnvino'"),
        (("--backend", "ort", "--batch", "4:2:1"), "batch 4:2:1 cannot be used"),
        (("--target", "jetson-orin-nano"), "auto keeps what is fastest on this machine"),
        (("--sm", "89"), "auto keeps what is fastest on this machine"),
        (("--backend", "ort", "--target", "rtx-4090"), "builds nothing for rtx-4090"),
        (("--backend", "ort", "-o", str(tmp_path / "no" / "m.ort")), "the folder does not exist"),
    ):
        done = run_here("compile", str(source), *arguments)
        assert done.returncode == 1 and done.stdout == ""
        assert sentence in done.stderr.splitlines()[-2] and done.stderr.splitlines()[-1].startswith("hint: ")
