"""A compiled file that is not whole, or is for another machine, is refused before its library sees it."""

import dataclasses
import hashlib
import shlex

import pytest

from edgecnn.artifact import EngineRecord, Manifest, TensorSpec, sidecar
from edgecnn.backends import BACKENDS
from edgecnn.errors import ArtifactError, EngineError, MissingPackageError
from edgecnn.runtime import compatibility, load

CONTENT = b"an engine"


def manifest(**changes) -> Manifest:
    record = EngineRecord(
        backend="onnxruntime",
        needs={"compute capability": ("8.6", "8.9"), "TensorRT": ("10.3.",)},
        parent="m.onnx",
        files={"m.engine": hashlib.sha256(CONTENT).hexdigest()},
    )
    spec = TensorSpec("input", (1, 3, 8, 8), "float32", "NCHW")
    return Manifest((spec,), (spec,), engine=dataclasses.replace(record, **changes))


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "m.engine"
    path.write_bytes(CONTENT)
    return path


HERE = {"compute capability": "8.9", "TensorRT": "10.3.0.26"}


def test_a_file_that_fits_passes(engine):
    compatibility.check(engine, manifest(), HERE)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"compute capability": "7.5"}, r"built for compute capability 8.6 or 8.9; here it is 7.5"),
        ({"TensorRT": "10.30.1"}, r"built for TensorRT 10.3.x; here it is 10.30.1"),
        ({"TensorRT": "8.6.1"}, r"here it is 8.6.1"),
    ],
)
def test_another_machine_is_refused_with_what_differs_and_the_command_that_rebuilds(
    engine, changed, sentence
):
    with pytest.raises(EngineError, match=sentence) as caught:
        compatibility.check(engine, manifest(), {**HERE, **changed})
    assert caught.value.hint == f"edgecnn compile {engine.parent}/m.onnx --backend onnxruntime -o {engine}"


def test_what_this_machine_does_not_have_at_all_is_refused(engine):
    with pytest.raises(EngineError, match="here it is none"):
        compatibility.check(engine, manifest(), {"TensorRT": "10.3.0.26"})


def test_a_damaged_file_is_refused(engine):
    engine.write_bytes(CONTENT[:-1])
    with pytest.raises(ArtifactError, match="is damaged, or not the file"):
        compatibility.check(engine, manifest(), HERE)


def test_a_missing_part_is_named(engine):
    with pytest.raises(ArtifactError, match=r"m\.bin, which belongs to m\.engine, is missing"):
        compatibility.check(engine, manifest(files={"m.bin": "0" * 64}), HERE)


@pytest.mark.parametrize("suffix", [".engine", ".plan"])
def test_an_engine_without_its_record_is_refused(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(CONTENT)
    with pytest.raises(ArtifactError, match=r"has no m\.\w+\.json beside it"):
        load(path)


def test_a_damaged_record_is_refused(engine):
    sidecar(engine).write_text('{"format_version": 1')
    with pytest.raises(ArtifactError, match="manifest is damaged"):
        load(engine)


def test_a_missing_library_is_named_with_its_command():
    backend = dataclasses.replace(BACKENDS.get("tensorrt"), packages=("no-such-package",))
    with pytest.raises(MissingPackageError, match="TensorRT is not installed here") as caught:
        compatibility.library_version(backend)
    assert "pip install" in caught.value.hint


def test_an_engine_that_was_renamed_with_its_parts_is_checked_under_its_new_name(engine):
    parts = manifest(
        files={f"old{suffix}": hashlib.sha256(CONTENT).hexdigest() for suffix in (".engine", ".bin")}
    )
    (engine.parent / "old.engine").write_bytes(CONTENT)
    engine.with_suffix(".bin").write_bytes(CONTENT)
    compatibility.check(engine, parts, HERE)
    engine.write_bytes(CONTENT[:-1])  # the one under the old name is whole
    with pytest.raises(ArtifactError, match=r"m\.engine is damaged"):
        compatibility.check(engine, parts, HERE)


def test_a_record_of_another_kind_of_file_is_refused(engine):
    plan = engine.rename(engine.with_suffix(".plan"))
    engine.write_bytes(CONTENT)
    with pytest.raises(ArtifactError, match=r"was written for m\.engine, not for m\.plan"):
        compatibility.check(plan, manifest(), HERE)


def test_the_command_that_rebuilds_has_the_options_of_the_build_and_can_be_pasted(tmp_path):
    from edgecnn.cli.commands.compile import command

    record = manifest(
        parent="my model.onnx",
        flags={"batch": [1, 8, 32], "threads": 2, "hint": "latency", "bf16": True, "dla": 0, "sm": ["8.9"]},
    ).engine
    words = shlex.split(compatibility.rebuild_command(tmp_path / "my engine.xml", record))
    assert words[:2] == ["edgecnn", "compile"]
    values = command.make_context("compile", words[2:]).params
    assert values["model"] == tmp_path / "my model.onnx" and values["output"] == tmp_path / "my engine.xml"
    assert (values["batch"], values["threads"], values["bf16"], values["dla"]) == ("1:8:32", 2, True, 0)
    assert "--hint" not in words and "--sm" not in words
