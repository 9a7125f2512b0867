import json
from pathlib import Path

import jsonschema
import onnx
import pytest
from small_classifier import classifier

from edgecnn import files
from edgecnn.artifact import (
    LayerRecord,
    Manifest,
    Step,
    TensorSpec,
    content_sha256,
    read_manifest,
    sidecar,
)
from edgecnn.errors import ArtifactError

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/manifest.schema.json").read_text())

MANIFEST = Manifest(
    inputs=(TensorSpec("input", ("batch", 3, 224, 224), "float32", "NCHW"),),
    outputs=(TensorSpec("logits", ("batch", 2), "float32", "NC"),),
    labels=("cat", "dog"),
    architecture="mobilenet_v1",
    layers={"stem": LayerRecord("Conv", 10, 3, 4, 5, "conv2d", ("input_scale",))},
    lineage=(Step("trace", {"opset": 18}, seed=1, parent="ab", metrics={"x": 1}),),
    versions={"edgecnn": "0"},
)


def test_a_manifest_survives_a_round_trip():
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_fields_of_a_later_version_survive_a_round_trip():
    values = {**json.loads(MANIFEST.to_json()), "from_the_future": [1, 2]}
    values["inputs"][0]["colour"] = "RGB"
    values["layers"]["stem"]["kernel"] = [3, 3]
    values["lineage"][0]["operator"] = "somebody"
    again = json.loads(Manifest.from_json(json.dumps(values)).to_json())
    assert again == values


def test_a_newer_format_is_refused():
    values = {**json.loads(MANIFEST.to_json()), "format_version": 2}
    with pytest.raises(ArtifactError, match="manifest format 2"):
        Manifest.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 1}', "null", '{"format_version": "x"}'])
def test_a_damaged_manifest_is_refused(text):
    with pytest.raises(ArtifactError, match="damaged"):
        Manifest.from_json(text)


def test_the_schema_accepts_a_manifest_and_refuses_a_wrong_one():
    jsonschema.validate(json.loads(MANIFEST.to_json()), SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(MANIFEST.to_json()), "precision": "int3"}, SCHEMA)


def test_every_field_of_the_manifest_is_in_the_schema():
    assert set(json.loads(MANIFEST.to_json())) == set(SCHEMA["properties"])


def test_a_sidecar_is_read_for_a_file_that_carries_no_manifest(tmp_path):
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"opaque")
    sidecar(engine).write_text(MANIFEST.to_json())
    assert read_manifest(engine) == MANIFEST


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_exported_file_carries_a_manifest_that_the_schema_accepts(exported, precision):
    path = exported("mobilenet", "--alpha", "0.5", *(["--int8"] if precision == "int8" else []))
    manifest = read_manifest(path)
    jsonschema.validate(json.loads(manifest.to_json()), SCHEMA)
    assert manifest.precision == precision
    assert [step.what for step in manifest.lineage][:4] == ["build", "initialize", "settle", "trace"]


def test_a_damaged_sidecar_is_named(tmp_path):
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"opaque")
    sidecar(engine).write_text(MANIFEST.to_json()[:-5])
    with pytest.raises(ArtifactError, match=r"m\.engine\.json: the manifest is damaged"):
        read_manifest(engine)


def test_the_content_of_a_model_is_its_file_and_the_weights_beside_it(tmp_path):
    path = classifier(tmp_path / "m.onnx")
    assert content_sha256(path) == files.sha256(path)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.data", size_threshold=0)
    before, graph = content_sha256(path), path.read_bytes()
    weights = tmp_path / "w.data"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    assert path.read_bytes() == graph and content_sha256(path) != before
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"keeps its weights in w\.data, which is not beside it"):
        content_sha256(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": 5},
        {"inputs": []},
        {"engine": {"backend": None, "needs": {}}},
        {"engine": {"backend": "openvino", "needs": 3}},
        {"engine": {"backend": "openvino", "needs": {}, "files": [["a"]]}},
        {"engine": {"backend": "openvino", "needs": {}, "flags": 3}},
    ],
)
def test_a_record_that_was_edited_into_nonsense_is_refused(wrong):
    engine = {"engine": {"backend": "openvino", "needs": {}}}
    Manifest.from_json(json.dumps({**json.loads(MANIFEST.to_json()), **engine}))
    with pytest.raises(ArtifactError, match="damaged"):
        Manifest.from_json(json.dumps({**json.loads(MANIFEST.to_json()), **engine, **wrong}))
