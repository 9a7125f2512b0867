"""What the measuring commands store, and the report that is made of it."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from program import run_here

from edgecnn import files
from edgecnn.measure import store
from edgecnn.measure.provenance import without_lists

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/results.schema.json").read_text())


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    path = tmp_path / "results.sqlite"
    monkeypatch.setenv("EDGECNN_RESULTS", str(path))
    return path


@pytest.fixture
def model(exported):
    return str(exported("lenet5"))


def printed(*arguments):
    done = run_here(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def commands(model):
    return [
        ("profile", model, "--seconds", "0.1"),
        ("eval", model, "--data", "digits", "--reference", model),
        ("compare", model, model, "--seconds", "0.1", "--force"),
    ]


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("index", [0, 1])
def test_what_is_printed_follows_the_schema_and_is_stored_with_where_it_comes_from(model, index):
    command = commands(model)[index]
    values = printed(*command)
    jsonschema.validate(values, SCHEMA)
    (kept,) = store.query()
    jsonschema.validate(dict(kept.values), SCHEMA)
    assert kept.kind == command[0] and kept.sha256 == values["sha256"]
    assert without_lists(values).items() <= kept.values.items()
    assert kept.values["architecture"] == "lenet5" and kept.values["precision"] == "float32"
    assert [step["what"] for step in kept.values["lineage"]][:1] == ["build"]


def test_the_store_keeps_no_list_by_class_or_image(model):
    values = printed(*commands(model)[1])
    (kept,) = store.query()
    assert len(values["per_class"]) == 10 and not {"per_class", "mistakes", "skipped"} & kept.values.keys()
    assert "changed" in values["agreement"] and "changed" not in kept.values["agreement"]
    assert kept.values["agreement"]["p_value"] == values["agreement"]["p_value"]


def test_a_comparison_is_stored_for_each_file_beside_its_baseline(model, tmp_path):
    other = shutil.copy(model, str(tmp_path / "other.onnx"))
    values = printed("compare", model, other, other, "--seconds", "0.1")
    found = store.query(["kind=compare"])
    assert [item.path for item in found] == [other, other]
    for item, row in zip(found, values["results"][1:], strict=True):
        jsonschema.validate(dict(item.values), SCHEMA)
        assert item.values["ratio"] == row["ratio"] and item.values["architecture"] == "lenet5"
        assert item.values["baseline"]["sha256"] == files.sha256(Path(model))


def test_each_of_several_batches_is_stored_by_itself(model):
    values = printed("profile", model, "--batch", "1,3", "--seconds", "0.1")
    assert [item.values["conditions"]["batch"] for item in store.query()] == [1, 3]
    for item in values["results"]:
        jsonschema.validate(item, SCHEMA)


@pytest.mark.parametrize("missing", ["path", "latency_ms", "conditions"])
def test_a_profile_without_a_key_does_not_follow_the_schema(model, missing):
    values = printed(*commands(model)[0], "--no-store")
    del values[missing]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


def test_every_sample_of_a_profile_is_stored(model):
    values = printed(*commands(model)[0])
    samples = store.query()[0].samples
    assert len(samples) == values["n"]
    assert samples.max() == pytest.approx(values["latency_ms"]["max"], rel=1e-6)


def test_no_store_leaves_no_result(model, own):
    for command in commands(model):
        printed(*command, "--no-store")
    assert not own.exists()


def test_a_store_that_cannot_be_written_is_a_note_and_no_failure(model, own):
    own.write_text("no database, and long enough to look at" * 50)
    done = run_here("profile", model, "--seconds", "0.1", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["n"] > 0
    assert "note: not stored" in done.stderr and "damaged" in done.stderr


def test_a_report_says_what_it_shows(model, tmp_path):
    for command in commands(model):
        printed(*command)
    page = tmp_path / "page.html"
    found = printed("report", "architecture=lenet*", "-o", str(page))
    assert found == {
        "path": str(page),
        "bytes": page.stat().st_size,
        "results": 3,
        "rows": 1,
        "files": 1,
        "comparisons": 1,
        "damaged": [],
    }


def test_a_report_of_nothing_is_an_error_with_a_hint(tmp_path):
    done = run_here("report", "-o", str(tmp_path / "page.html"))
    assert done.returncode == 1 and "hint: edgecnn profile" in done.stderr
