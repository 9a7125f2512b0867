"""ONNX Runtime's own format: the same answers, refused elsewhere, rebuilt where asked."""

import json

import numpy as np
import onnx
import pytest
from program import SMALL

from edgecnn import compile as compiling
from edgecnn.artifact import read_manifest, sidecar
from edgecnn.compile import BatchRange, CompileRequest, rebuilt
from edgecnn.errors import ArtifactError, EngineError, InvalidValueError, ParityError, UnknownNameError
from edgecnn.runtime import load


@pytest.fixture(params=[(), ("--int8", "--target", "cpu"), ("--fp16",)], ids=["float32", "int8", "float16"])
def source(request, exported):
    return exported(*SMALL, *request.param)


@pytest.fixture
def float_file(exported, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(exported(*SMALL).read_bytes())
    return path


def compiled(path, tmp_path, **options):
    request = CompileRequest(path, tmp_path / "m.ort", "ort", **options)
    return compiling.compile_file(request)


def test_the_engine_gives_the_files_answers(source, tmp_path, coffee):
    result = compiled(source, tmp_path)
    with load(source) as file, load(result.path) as engine:
        images = file.prepare([coffee])
        assert np.allclose(file(images), engine(images), rtol=1e-3, atol=1e-3)
        assert engine.predict(coffee)[0][0].label == file.predict(coffee)[0][0].label
    assert result.parity is not None and result.parity.images == 32


def test_the_record_says_where_it_came_from_and_where_it_runs(float_file, tmp_path):
    result = compiled(float_file, tmp_path, threads=1)
    manifest = read_manifest(result.path)
    record = manifest.engine
    assert record.backend == "onnxruntime" and record.parent == "m.onnx"
    assert set(record.needs) == {"ONNX Runtime", "processor"} and record.flags["threads"] == 1
    assert set(record.files) == {"m.ort"}
    assert manifest.lineage[-1].what == "compile" and manifest.lineage[-1].parent == record.parent_sha256
    assert [step.what for step in manifest.lineage][:-1] == [
        step.what for step in read_manifest(float_file).lineage
    ]
    with load(result.path) as engine:
        assert engine.threads == 1


def test_nothing_but_the_engine_and_its_record_is_left(float_file, tmp_path):
    compiled(float_file, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "m.ort", "m.ort.json"}


def change(path, **needs):
    values = json.loads(sidecar(path).read_text())
    values["engine"]["needs"].update(needs)
    sidecar(path).write_text(json.dumps(values))


def test_another_version_is_refused_and_rebuilt_only_where_asked(float_file, tmp_path, monkeypatch, coffee):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = compiled(float_file, tmp_path).path
    change(path, **{"ONNX Runtime": ["1.2.3"]})
    with pytest.raises(EngineError, match=r"built for ONNX Runtime 1\.2\.3; here it is 1\.") as caught:
        load(path)
    assert "edgecnn compile" in caught.value.hint
    with load(path, rebuild=rebuilt) as engine, load(float_file) as file:
        assert engine.path.is_relative_to(tmp_path / "cache")
        assert engine.predict(coffee)[0][0] == file.predict(coffee)[0][0]
        first = engine.path.stat().st_mtime_ns
    with load(path, rebuild=rebuilt) as engine:
        assert engine.path.stat().st_mtime_ns == first, "built again"
    kept = engine.path
    kept.write_bytes(kept.read_bytes()[:-1])
    with load(path, rebuild=rebuilt) as engine:
        assert engine.path == kept and engine.path.stat().st_mtime_ns != first, "a damaged one was kept"


def test_what_was_built_from_another_file_is_not_rebuilt(float_file, tmp_path, exported):
    path = compiled(float_file, tmp_path).path
    change(path, processor=["vax"])
    float_file.write_bytes(exported(*SMALL, "--fp16").read_bytes())
    with pytest.raises(ArtifactError, match="is not the file that"):
        load(path, rebuild=rebuilt)
    float_file.unlink()
    with pytest.raises(ArtifactError, match="is not beside it"):
        load(path, rebuild=rebuilt)


def test_an_engine_that_computes_something_else_is_not_written(
    float_file, tmp_path, monkeypatch, tmp_path_factory
):
    from edgecnn.compile import ort_builder

    model, other = onnx.load(float_file), tmp_path_factory.mktemp("other") / "m.onnx"
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "classifier.weight"]
    turned = onnx.numpy_helper.to_array(weight)[::-1].copy()
    weight.CopyFrom(onnx.numpy_helper.from_array(turned, weight.name))
    onnx.save(model, other)
    build = ort_builder.build
    monkeypatch.setattr(
        ort_builder,
        "build",
        lambda source, request, progress: build(
            type(source)(other, source.sha256, source.manifest), request, progress
        ),
    )
    with pytest.raises(ParityError, match="the engine of ONNX Runtime"):
        compiled(float_file, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx"}


def test_a_foreign_file_is_compiled_too(tmp_path, float_file):
    model = onnx.load(float_file)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    result = compiled(tmp_path / "foreign.onnx", tmp_path)
    assert "one photograph" in result.notes[0]
    with load(result.path) as engine:
        assert engine(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 1000)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sm": ("8.9",)}, "ONNX Runtime knows no `sm`"),
        ({"sparsity": True}, "ONNX Runtime knows no `sparsity`"),
        ({"hint": "speed"}, "unknown `hint`"),
        ({"sm": ("89",)}, "no compute capability"),
        ({"workspace_mib": 0}, "`workspace` of 0"),
        ({"workspace_mib": 64}, "ONNX Runtime knows no `workspace`$"),
        ({"threads": 1025}, "`threads` of 1025"),
    ],
)
def test_what_a_backend_does_not_know_is_refused(float_file, tmp_path, options, sentence):
    with pytest.raises(InvalidValueError, match=sentence):
        compiled(float_file, tmp_path, **options)


def test_an_engine_takes_the_images_that_its_file_takes(float_file, exported, tmp_path):
    with load(compiled(float_file, tmp_path, batch=BatchRange(1, 2, 4)).path) as engine:
        assert engine.batches == (1, None)
    fixed = exported("lenet5", "--batch", "4")
    assert compiled(fixed, tmp_path, batch=BatchRange(4, 4, 4)).parity is not None
    with pytest.raises(InvalidValueError, match="takes 4 images at a time, not 1 to 4"):
        compiled(fixed, tmp_path, batch=BatchRange(1, 2, 4))


def test_unknown_names_and_suffixes_are_refused(float_file, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown backend 'openvin'") as caught:
        CompileRequest(float_file, backend="openvin")
    assert "openvino" in caught.value.hint
    with pytest.raises(InvalidValueError) as caught:
        compiling.compile_file(CompileRequest(float_file, tmp_path / "m.engine", "ort"))
    assert caught.value.hint == "call it m.ort"
    with pytest.raises(ArtifactError, match="no ONNX file"):
        compiling.compile_file(CompileRequest(tmp_path / "m.ort", tmp_path / "n.ort", "ort"))


@pytest.mark.parametrize(("text", "expected"), [("8", (8, 8, 8)), ("1:4:16", (1, 4, 16))])
def test_batches_are_read(text, expected):
    batch = BatchRange.parse(text)
    assert (batch.least, batch.best, batch.most) == expected


@pytest.mark.parametrize("text", ["", "0", "4:2:8", "1:2", "1:8:2147483648", "a", "1:2:3:4", "-1"])
def test_batches_that_cannot_be_are_refused(text):
    with pytest.raises(InvalidValueError, match="cannot be used"):
        BatchRange.parse(text)


@pytest.mark.parametrize(("text", "expected"), [("89", ("8.9",)), ("sm75, 8.6,120", ("7.5", "8.6", "12.0"))])
def test_compute_capabilities_are_read(text, expected):
    from edgecnn.compile.compile_request import parse_sm

    assert parse_sm(text) == expected
