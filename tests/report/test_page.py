import base64
import hashlib
import json
import re
import sqlite3
import sys

import numpy as np
import pytest
from stored import compared, evaluated, profiled

from edgecnn.errors import InvalidValueError, MissingPackageError, OutputError, StoreError
from edgecnn.measure import store
from edgecnn.report import write
from edgecnn.report.page import render
from edgecnn.report.rows import rows


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECNN_RESULTS", str(tmp_path / "results.sqlite"))


def keep(*results):
    for result in results:
        store.append(result.kind, result.values, np.array([1.0, 2.0]))


def scripts(page):
    return re.findall(r"<script>(.*?)</script>", page, re.DOTALL)


def data_of(page):
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_holds_what_is_in_the_store(tmp_path):
    keep(profiled("a"), evaluated("a", 0.9), profiled("b"))
    report = write(tmp_path / "r.html", ["architecture=a"])
    data = data_of(report.path.read_text())
    assert (report.results, report.rows, report.files) == (2, 1, 1)
    assert [item["architecture"] for item in data["files"]] == ["a"]
    assert data["filters"] == ["architecture=a"] and data["stored"] == 2
    assert report.bytes == report.path.stat().st_size


def test_the_policy_allows_nothing_but_the_two_scripts_that_are_there():
    page = render(rows([profiled("a")]))
    policy = re.search(r'Content-Security-Policy"\s+content="([^"]*)"', page)[1]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts(page)]
    assert len(digests) == 2
    assert directives["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]


def test_the_page_refers_to_no_other_file():
    page = render(rows([profiled("a")]))
    for script in scripts(page):
        page = page.replace(script, "")
    assert not re.search(r"<link|\bsrc=|\bhref=|url\(|@import", page)


def test_a_name_cannot_end_the_data():
    result = profiled("a", notes=["</script><script>alert(1)</script><!--"])
    page = render(rows([result]))
    assert data_of(page)["rows"][0]["notes"] == ["</script><script>alert(1)</script><!--"]
    assert len(scripts(page)) == 2


def test_filters_that_nothing_meets_are_an_error(tmp_path):
    keep(profiled("a"))
    with pytest.raises(InvalidValueError, match="architecture=b"):
        write(tmp_path / "r.html", ["architecture=b"])
    assert not (tmp_path / "r.html").exists()


def test_without_a_store_there_is_no_page(tmp_path):
    with pytest.raises(StoreError, match="no results"):
        write(tmp_path / "r.html")


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    keep(profiled("a"))
    with pytest.raises(OutputError):
        write(tmp_path / "absent" / "r.html")


def test_without_plotly_the_error_names_the_extra(tmp_path, monkeypatch):
    keep(profiled("a"))
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(MissingPackageError) as caught:
        write(tmp_path / "r.html")
    assert "edgecnn[report]" in caught.value.hint


def test_comparisons_alone_make_a_page(tmp_path):
    store.append("compare", compared("a", "b", 0.5).values)
    report = write(tmp_path / "r.html")
    assert (report.rows, report.comparisons) == (0, 1)
    assert data_of(report.path.read_text())["comparisons"][0]["ratio"] == 0.5


def test_other_kinds_of_results_alone_make_no_page(tmp_path):
    store.append("loadgen", profiled("a").values)
    with pytest.raises(InvalidValueError, match="profile, eval or compare"):
        write(tmp_path / "r.html")


@pytest.mark.parametrize(
    "change",
    [
        "time = 'yesterday'",
        "time = 1e300",
        "result = '[]'",
        "path = x'ff'",
        "result = 'no json'",
        "kind = 'eval', result = '{}'",
        "kind = 'compare', result = '{}'",
        "result = '" + "[" * 100_000 + "'",
        "result = '" + '{"a": ' * 200 + "1" + "}" * 200 + "'",
        """result = '{"latency_ms": {"p50": NaN}}'""",
        """result = '{"latency_ms": {"p50": 1e999}}'""",
        """result = '{"latency_ms": {"p50": "fast"}, "conditions": {}}'""",
        """result = '{"latency_ms": [], "conditions": {}, "notes": "many"}'""",
        """result = '{"lineage": [5], "conditions": {}}'""",
        """result = '{"bytes": true, "conditions": {}}'""",
        "samples = x'00'",
        "samples = 'text'",
    ],
)
def test_one_damaged_result_is_named_and_the_others_are_shown(tmp_path, change):
    keep(profiled("a"), profiled("b"))
    with sqlite3.connect(store.place()) as opened:
        opened.execute(f"UPDATE results SET {change} WHERE id = 1")
    opened.close()
    report = write(tmp_path / "r.html")
    assert [item["architecture"] for item in data_of(report.path.read_text())["files"]] == ["b"]
    (sentence,) = report.damaged
    assert "is damaged" in sentence and len(sentence) < 400


def test_a_store_of_damaged_results_is_an_error(tmp_path):
    keep(profiled("a"))
    with sqlite3.connect(store.place()) as opened:
        opened.execute("UPDATE results SET result = '5'")
    opened.close()
    with pytest.raises(StoreError, match=r"result 1 of .* is damaged"):
        write(tmp_path / "r.html")
