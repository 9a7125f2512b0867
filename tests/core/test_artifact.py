import json
import zlib
from pathlib import Path

import jsonschema
import onnx
import pytest
from foreign_graphs import head, model_of, stem
from program import SMALL
from small_classifier import classifier

from edgecnn import files
from edgecnn.artifact import EngineRecord, LayerRecord, Manifest, Step, TensorSpec, read_manifest, sidecar
from edgecnn.errors import ArtifactError
from edgecnn.model_content import content_bytes, content_sha256

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/manifest.schema.json").read_text())

MANIFEST = Manifest(
    inputs=(TensorSpec("input", ("batch", 3, 224, 224), "float32", "NCHW"),),
    outputs=(TensorSpec("logits", ("batch", 2), "float32", "NC"),),
    task="detection",
    decoder={
        "name": "ssd",
        "score": 0.01,
        "iou": 0.45,
        "limit": 200,
        "strides": [16, 32],
        "ratios": [[2], [2]],
    },
    labels=("cat", "dog"),
    architecture="mobilenet_v1",
    layers={"stem": LayerRecord("Conv", 10, 3, 4, 5, "conv2d", ("input_scale",))},
    lineage=(Step("trace", {"opset": 18}, seed=1, parent="ab", metrics={"x": 1}),),
    versions={"edgecnn": "0"},
)


def test_a_manifest_survives_a_round_trip():
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


def test_a_manifest_of_before_decoders_is_read():
    values = json.loads(MANIFEST.to_json())
    del values["decoder"]
    assert Manifest.from_json(json.dumps(values)).decoder is None
    jsonschema.validate(values, SCHEMA)


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
    path = exported(*SMALL, *(["--int8"] if precision == "int8" else []))
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


def test_a_model_takes_the_bytes_of_all_its_files(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(
        model_of(stem(), head()), path, save_as_external_data=True, location="m.data", size_threshold=100
    )
    beside = (tmp_path / "m.data").stat().st_size
    assert beside > 2000 and content_bytes(path) == path.stat().st_size + beside
    (tmp_path / "m.data").unlink()
    assert content_bytes(path) == path.stat().st_size
    engine = tmp_path / "m.xml"
    for name, count in (("m.xml", 10), ("m.bin", 1000)):
        (tmp_path / name).write_bytes(bytes(count))
    assert content_bytes(engine) == 10
    record = EngineRecord("openvino", {}, {}, {}, "m.onnx", "0" * 64, {"m.xml": "", "m.bin": ""})
    sidecar(engine).write_text(Manifest(MANIFEST.inputs, MANIFEST.outputs, engine=record).to_json())
    assert content_bytes(engine) == 1010


def edited(**changes) -> str:
    """The manifest with other values at dotted paths, as they would be typed."""
    values = json.loads(MANIFEST.to_json())
    for path, value in changes.items():
        *parts, last = path.split("__")
        place = values
        for part in parts:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    "text",
    [
        edited(alpha="wide"),
        edited(alpha=True),
        edited(resolution=224.5),
        edited(params=[]),
        edited(macs=2**70),
        edited(weights=5),
        edited(precision=None),
        edited(architecture={}),
        edited(target=["cpu"]),
        edited(labels=["cat", 5]),
        edited(versions={"edgecnn": 0}),
        edited(preprocessing=[1]),
        edited(quantization="int8"),
        edited(inputs=[]) + "x",
        edited(inputs=[]),
        edited(outputs=[]),
        edited(inputs="input"),
        edited(inputs__0__name=5),
        edited(inputs__0__shape=[[3]]),
        edited(inputs__0__shape=[1.5]),
        edited(outputs__0__dtype=None),
        edited(lineage={}),
        edited(lineage=[[]]),
        edited(lineage__0__what=None),
        edited(lineage__0__parameters=[]),
        edited(layers=[]),
        edited(layers__stem__macs="many"),
        edited(layers__stem__inputs=[5]),
        edited(format_version=[1]),
        edited(alpha=0).replace('"alpha": 0', '"alpha": NaN'),
        edited(alpha=0).replace('"alpha": 0', '"alpha": 1e999'),
        edited(alpha=0).replace('"alpha": 0', f'"alpha": {"9" * 5000}'),
        edited(lineage__0__metrics={"x": float("nan")}),
        edited(preprocessing={"mean": [float("inf")]}),
        "[" * 100_000,
        edited(quantization={}).replace("{}", "[" * 500 + "]" * 500),
        edited()[:-1] + f', "more": "{"x" * (16 << 20)}"}}',
    ],
    ids=lambda text: str(zlib.crc32(text.encode())),
)
def test_a_manifest_of_other_kinds_is_refused_where_it_is_read(text):
    """Before any work is done with it, and not with a page of values."""
    with pytest.raises(ArtifactError, match="the manifest is damaged") as caught:
        Manifest.from_json(text)
    assert len(str(caught.value)) < 400


def test_a_checkpoint_with_a_header_of_other_kinds_is_refused(tmp_path):
    for header in (
        b"[]",
        b"[" * 100_000,
        b'{"__metadata__": []}',
        b'{"__metadata__": {"edgecnn": 5}}',
        b'"x"',
    ):
        path = tmp_path / "m.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(ArtifactError, match="no safetensors file"):
            read_manifest(path)
