import dataclasses

import pytest
from stored import CONDITIONS, evaluated, profiled, sha

from edgecnn.errors import StoreError
from edgecnn.measure.conditions.record_conditions import SETTINGS
from edgecnn.report.rows import flat, rows


def compiled_from(name):
    return [{"what": "export", "parent": None}, {"what": "compile", "parent": sha(name)}]


def only_row(*results, **options):
    (row,) = rows(results, **options)["rows"]
    return row


def test_latency_and_accuracy_of_one_file_come_together():
    row = only_row(profiled("a", 4.0), evaluated("a", 0.9))
    assert row["p50"] == 4.0
    assert row["accuracy"]["digits"]["top1"] == 0.9


def test_the_newest_accuracy_counts_on_each_data_set():
    found = only_row(
        evaluated("a", 0.1), evaluated("a", 0.2, data="mnist"), evaluated("a", 0.3), profiled("a")
    )["accuracy"]
    assert {name: item["top1"] for name, item in found.items()} == {"digits": 0.3, "mnist": 0.2}


def test_an_engine_has_the_accuracy_of_the_file_it_was_compiled_from():
    row = only_row(profiled("engine", lineage=compiled_from("a")), evaluated("a", 0.9))
    assert row["accuracy"]["digits"]["top1"] == 0.9
    assert row["accuracy"]["digits"]["file"] == "a.onnx"
    assert row["accuracy"]["digits"]["sha256"] == sha("a")


def test_an_engine_that_was_evaluated_has_its_own_accuracy():
    row = only_row(
        profiled("engine", lineage=compiled_from("a")), evaluated("a", 0.9), evaluated("engine", 0.8)
    )
    assert row["accuracy"]["digits"]["top1"] == 0.8


def test_a_detector_is_shown_by_its_own_metric():
    def measured(**metric):
        result = evaluated("a", 0.5, metric=metric)
        others = {key: value for key, value in result.values.items() if not key.startswith("top")}
        return dataclasses.replace(result, values=others)

    row = only_row(profiled("a"), measured(name="mAP", value=41.5, unit="points of mAP"))
    assert row["accuracy"]["digits"]["metric"] == {"name": "mAP", "share": 0.415}
    assert only_row(profiled("a"), measured(name="m.py:f", value=3.0, unit=""))["accuracy"] == {}


@pytest.mark.parametrize("what", ["quantize", "prune"])
def test_other_descendants_do_not_inherit_accuracy(what):
    child = profiled("b", lineage=[{"what": what, "parent": sha("a")}])
    row = rows([child, evaluated("a", 0.9)])["rows"][0]
    assert row["accuracy"] == {}


def test_the_newest_of_a_file_under_the_same_settings_is_shown():
    older, newer = profiled("a", 4.0, time=1.0), profiled("a", 5.0, time=2.0)
    assert only_row(older, newer)["p50"] == 5.0
    assert [row["p50"] for row in rows([older, newer], everything=True)["rows"]] == [4.0, 5.0]


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        ({"conditions": {**CONDITIONS, "threads": 2}}, 2),
        ({"conditions": {**CONDITIONS, "governor": "performance"}}, 2),
        ({"conditions": {**CONDITIONS, "cpu_limits_mhz": {"0": [800, 800]}}}, 2),
        ({"conditions": {**CONDITIONS, "load": 3.0}}, 1),
        ({"host": "elsewhere"}, 2),
    ],
)
def test_settings_are_told_from_what_the_moment_was_like(changed, count):
    assert len(rows([profiled("a"), profiled("a", **changed)])["rows"]) == count


def test_what_makes_results_unlike_makes_them_two_rows():
    for key in SETTINGS:
        other = profiled("a", conditions={**CONDITIONS, key: "another"})
        assert len(rows([profiled("a"), other])["rows"]) == 2, key


def test_a_file_that_was_only_evaluated_has_a_row_without_latency():
    row = only_row(evaluated("a", 0.9))
    assert row["p50"] is None and row["percentiles"] is None
    assert row["accuracy"]["digits"]["top1"] == 0.9


def test_rows_of_one_file_share_it():
    found = rows([profiled("a"), profiled("b"), profiled("a", host="elsewhere")])
    assert [row["file"] for row in found["rows"]] == [0, 1, 0]
    assert [item["architecture"] for item in found["files"]] == ["a", "b"]
    assert [row["conditions"] for row in found["rows"]] == [0, 0, 0]


def test_percentiles_are_those_of_the_samples():
    percentiles = only_row(profiled("a", 10.0))["percentiles"]
    assert percentiles == pytest.approx([9 + 0.03 * percent for percent in range(101)], rel=1e-3)


def test_energy_is_in_millijoules():
    assert only_row(profiled("a", joules_per_image=0.0123))["millijoules"] == 12.3


def test_a_file_without_a_manifest_has_a_row():
    values = {"path": "a.onnx", "latency_ms": {"p50": 1.0}, "conditions": {}, "bytes": 10}
    result = dataclasses.replace(profiled("a"), values=values)
    found = rows([result])
    assert found["files"][0]["precision"] is None and found["files"][0]["lineage"] == []


def test_damaged_samples_are_an_error():
    with pytest.raises(StoreError):
        rows([dataclasses.replace(profiled("a"), packed_samples=b"damaged")])


def test_nested_conditions_become_texts_and_numbers():
    nested = {
        "load": 0.5,
        "power_mode": None,
        "cpu_limits_mhz": {"cpu0": [400, 3000]},
        "during": {"throttled": [], "watts": 5.5, "stable": True},
    }
    assert flat(nested) == {
        "load": 0.5,
        "cpu limits mhz, cpu0": "400, 3000",
        "during, watts": 5.5,
        "during, stable": "yes",
    }
