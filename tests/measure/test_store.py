import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
from datetime import datetime

import numpy as np
import pytest

from edgecnn.errors import InvalidValueError, StoreError
from edgecnn.measure import store

A, B = "a" * 64, "b" * 64

#: A process that appends results one after the other, of a file whose name is its first argument.
WRITER = """
import sys
import numpy as np
from edgecnn.measure.store import append
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    samples = np.full(3000, number, np.float64)
    append("profile", {"path": sys.argv[1], "sha256": "a" * 64, "number": number}, samples)
    print(number, flush=True)
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A store that does not exist yet."""
    path = tmp_path / "data" / "results.sqlite"
    monkeypatch.setenv("EDGECNN_RESULTS", str(path))
    return path


def result(path="/models/m.onnx", sha256=A, **values):
    return {"path": path, "sha256": sha256, **values}


def writer(name, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, name, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_a_result_comes_back_as_it_was(own):
    values = result(latency_ms={"p50": 1.25}, notes=["é <b>"], macs=None)
    assert store.append("profile", values, np.array([1.5, 2.25]), time=12.5) == own
    (found,) = store.query()
    assert (found.time, found.kind, found.path, found.sha256) == (12.5, "profile", "/models/m.onnx", A)
    assert found.values == values
    assert found.samples.tolist() == [1.5, 2.25]


def test_a_result_without_samples_has_none():
    store.append("eval", result())
    assert store.query()[0].samples is None


def test_a_relative_path_is_kept_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store.append("eval", result("m.onnx"))
    assert store.query()[0].path == str(tmp_path / "m.onnx")


def test_samples_take_a_fraction_of_their_json():
    samples = np.random.default_rng(0).normal(5, 0.1, 2000)
    store.append("profile", result(), samples)
    assert len(store.query()[0].packed_samples) < 4 * len(samples) * 1.01


def test_results_come_oldest_first():
    for moment in (30.0, 10.0, 20.0):
        store.append("eval", result(), time=moment)
    assert [item.time for item in store.query()] == [10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], "abc"),
        (["architecture=resnet18"], "a"),
        (["architecture=mobilenet*"], "bc"),
        (["architecture=mobilenet*", "precision=int8"], "c"),
        (["precision=int*"], "c"),
        (["kind=eval"], "b"),
        (["path=c.onnx"], "c"),
        (["path=*/x/*"], "ab"),
        (["sha256=bb"], "bc"),
        (["since=2026-02-01"], "c"),
        (["since=2026-01-01", "since=2026-02-01"], "c"),
        (["target=cpu"], "c"),
        (["device=cuda"], ""),
        (["backend=onnxruntime"], "a"),
    ],
)
def test_filters_choose(filters, names):
    def add(name, day, kind, *values, **more):
        moment = datetime.fromisoformat(day).timestamp()
        store.append(kind, result(*values, **more), time=moment)

    add("a", "2026-01-01", "profile", "/x/a.onnx", A, architecture="resnet18", backend="onnxruntime")
    add("b", "2026-01-31", "eval", "/x/b.onnx", B, architecture="mobilenet_v1", precision="float32")
    add(
        "c",
        "2026-02-01",
        "profile",
        "/y/c.onnx",
        B,
        architecture="mobilenet_v2",
        precision="int8",
        target="cpu",
    )
    assert "".join(item.path[-6] for item in store.query(filters)) == names


def test_the_host_is_this_machine():
    import platform

    store.append("eval", result())
    assert store.query([f"host={platform.node()}"])
    assert not store.query(["host=elsewhere"])


@pytest.mark.parametrize("text", ["resnet18", "architektur=resnet18", "since=yesterday", "latency_ms=3"])
def test_what_is_no_filter_is_refused(text):
    store.append("eval", result())
    with pytest.raises(InvalidValueError) as caught:
        store.query([text])
    assert caught.value.hint


def test_the_place_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EDGECNN_RESULTS")
    assert store.place() == tmp_path / "xdg/edgecnn/results.sqlite"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert store.place() == tmp_path / "home/.local/share/edgecnn/results.sqlite"


def test_no_store_is_an_error_that_says_how_to_get_one(own):
    with pytest.raises(StoreError, match="no results yet") as caught:
        store.query()
    assert "profile" in caught.value.hint
    assert not own.exists()


def test_a_folder_in_place_of_a_store_is_called_so(own):
    own.mkdir(parents=True)
    with pytest.raises(StoreError, match="is a folder, not a store of results"):
        store.query()


def test_a_newer_store_is_refused_and_left_alone(own):
    store.append("eval", result())
    with contextlib.closing(sqlite3.connect(own)) as connection:
        connection.execute(f"PRAGMA user_version = {store.VERSION + 1}")
    for use in (store.query, lambda: store.append("eval", result())):
        with pytest.raises(StoreError, match="version 2"):
            use()
    with contextlib.closing(sqlite3.connect(own)) as connection:
        assert connection.execute("SELECT count(*) FROM results").fetchone() == (1,)


@pytest.mark.parametrize("statement", ["CREATE TABLE results (something)", "SELECT 1"])
def test_the_database_of_another_program_is_refused(own, statement):
    own.parent.mkdir()
    own.touch()
    with contextlib.closing(sqlite3.connect(own)) as connection:
        connection.execute(statement)
    with pytest.raises(StoreError, match="no store of results"):
        store.append("eval", result())


def test_a_file_that_is_no_database_is_called_damaged(own):
    own.parent.mkdir()
    own.write_bytes(b"not a database at all" * 100)
    for use in (store.query, lambda: store.append("eval", result())):
        with pytest.raises(StoreError, match="damaged"):
            use()


def test_a_store_with_a_page_overwritten_is_called_damaged(own):
    for _ in range(50):
        store.append("profile", result(), np.arange(500.0))
    content = bytearray(own.read_bytes())
    content[4096:] = random.Random(0).randbytes(len(content) - 4096)
    own.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        store.query()


def test_a_store_of_which_even_the_complaint_is_no_text_is_called_damaged(own):
    store.append("eval", result())
    with contextlib.closing(sqlite3.connect(own)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    content = own.read_bytes()
    assert content.count(b"CREATE TABLE") == 1
    own.write_bytes(content.replace(b"CREATE TABLE", b"CREATE T\xffBLE"))
    for use in (store.query, lambda: store.append("eval", result()), lambda: store.received(own, "eval")):
        with pytest.raises(StoreError, match="damaged"):
            use()


def test_damaged_samples_are_an_error():
    with pytest.raises(StoreError, match=r"m\.onnx"):
        _ = store.Result(0.0, "profile", "/m.onnx", A, "here", {}, b"no zlib").samples


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        store.append("eval", result(), store=tmp_path / "file" / "results.sqlite")


def test_two_processes_that_write_at_once_lose_nothing():
    for _ in range(3):  # the store does not exist when the first two begin
        store.place().unlink(missing_ok=True)
        writers = [writer(name, 40) for name in ("one", "two")]
        assert [item.wait(60) for item in writers] == [0, 0]
        found = store.query()
        for name in ("one", "two"):
            numbers = [item.values["number"] for item in found if item.path.endswith(name)]
            assert numbers == list(range(40))


def test_a_killed_writer_leaves_all_that_it_said_it_wrote():
    moments = random.Random(1)
    written = 0
    for _ in range(8):
        process = writer("killed", 10**6)
        assert process.stdout.readline() == "ready\n"
        read = [process.stdout.readline() for _ in range(moments.randrange(1, 6))]
        process.send_signal(signal.SIGKILL)
        # Not `communicate`, which misses what the first line's read has taken in already.
        output = [*read, *process.stdout.read().splitlines()]
        process.wait()
        written += len(output)
        found = store.query() if output or written else []
        # One more may be in the store than it came to say.
        assert written <= len(found) <= written + 1
        written = len(found)
        assert all(len(item.samples) == 3000 for item in found)
    assert written > 8
    store.append("eval", result())
    assert len(store.query()) == written + 1
