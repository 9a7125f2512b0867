"""`edgecnn compare`, on engines and on results."""

import json

import pytest
from program import SMALL, run_here


@pytest.fixture(scope="module")
def file(exported):
    return str(exported(*SMALL))


def test_a_larger_network_is_slower_than_a_smaller_one(exported, file):
    small = str(exported("lenet5"))
    done = run_here(
        "compare", small, file, "--seconds", "0.1", "--threads", "1", "--json", "--fail-above", "1.5"
    )
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert result["results"][1]["verdict"] == "slower" and result["gate"] == {"fail_above": 1.5, "met": False}
    assert result["results"][1]["ratio"]["low"] > 1.5 and result["baseline"] == small
    ratio = result["results"][1]["ratio"]
    assert ratio["times_as_fast"] == 1 / ratio["value"] < 1, "what takes longer is less than once as fast"


def test_the_table_names_the_baseline(file):
    done = run_here("compare", file, file, "--seconds", "0.1")
    assert done.returncode == 0 and "baseline" in done.stdout


def test_a_result_that_was_printed_is_compared_with_another(file, tmp_path):
    for name in ("new", "old"):
        done = run_here("profile", file, "--seconds", "0.1", "--threads", "1", "--json")
        (tmp_path / f"{name}.json").write_text(done.stdout)
    files = str(tmp_path / "new.json"), str(tmp_path / "old.json")
    done = run_here("compare", *files, "--force", "--fail-above", "50", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gate"]["met"]


def test_fixed_batches_that_differ_are_unlike(exported):
    file, four = str(exported("lenet5")), str(exported("lenet5", "--batch", "4"))
    done = run_here("compare", file, four, "--seconds", "0.1")
    assert done.returncode == 1 and "unlike conditions: batch: 1 and 4" in done.stderr
    done = run_here("compare", file, four, "--force", "--seconds", "0.1", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["unlike"] == ["batch: 1 and 4"]


def test_wrong_usage_is_told(file, tmp_path):
    for arguments, code in (((file,), 2), ((file, "result.json"), 1), (("a.json", "b.json", "c.json"), 1)):
        assert run_here("compare", *arguments).returncode == code
