"""Two results as files, and what is refused of them."""

import json
from pathlib import Path

import pytest

from edgecnn.errors import ArtifactError, ConditionsError
from edgecnn.measure.latency.regression_gate import compare_results

CONDITIONS = {"cpu": "A", "governor": "performance", "batch": 1, "threads": 1, "backend": "onnxruntime 1.31"}


@pytest.fixture
def write(tmp_path):
    def make(name, p50, width=0.01, **conditions):
        path = tmp_path / name
        result = {
            "path": "m.onnx",
            "backend": "onnxruntime",
            "latency_ms": {"p50": p50},
            "p50_interval_ms": [p50 * (1 - width), p50 * (1 + width)],
            "n": 100,
            "conditions": {**CONDITIONS, **conditions},
        }
        path.write_text(json.dumps(result))
        return str(path)

    return make


def test_the_ratio_is_of_the_new_to_the_old(write):
    found = compare_results(write("new.json", 5.5), write("old.json", 5.0))
    assert found["results"][1]["ratio"]["value"] == pytest.approx(1.1)
    assert found["results"][1]["verdict"] == "slower" and found["unlike"] == []
    assert found["baseline"].endswith("old.json") and found["results"][0]["latency_ms"]["p50"] == 5.0


def test_a_difference_within_the_intervals_is_none(write):
    found = compare_results(write("new.json", 5.1, 0.03), write("old.json", 5.0, 0.03))
    ratio = found["results"][1]["ratio"]
    assert found["results"][1]["verdict"] == "no difference found"
    assert ratio["high"] / ratio["value"] == pytest.approx(1 + 0.03 * 2**0.5, rel=2e-3)


def test_unlike_conditions_are_named_and_only_force_goes_on(write):
    new, old = write("new.json", 5.0, governor="powersave", batch=8), write("old.json", 5.0)
    with pytest.raises(ConditionsError, match=r"governor: performance and powersave; batch: 1 and 8"):
        compare_results(new, old)
    assert len(compare_results(new, old, force=True)["unlike"]) == 2


def test_what_the_results_note_is_noted_once(write):
    new, old = write("new.json", 5.0), write("old.json", 5.0)
    for name, notes in ((new, ["a", "b"]), (old, ["b"])):
        result = json.loads(Path(name).read_text())
        Path(name).write_text(json.dumps({**result, "notes": notes}))
    assert compare_results(new, old)["notes"] == ["b", "a"]


def test_another_version_of_the_library_is_what_a_gate_is_for(write):
    assert not compare_results(write("n.json", 5, backend="onnxruntime 2"), write("o.json", 5))["unlike"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"results": []}'])
def test_what_is_no_result_is_refused(write, tmp_path, content):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"bad\.json"):
        compare_results(str(tmp_path / "bad.json"), write("old.json", 5.0))
