import hashlib
import os
import subprocess
import sys

import pytest
from mirror import Mirror, serve

from edgecnn.data import download
from edgecnn.data.download import RemoteFile, fetch, kept_in
from edgecnn.errors import DataError, InvalidValueError, OutputError

CONTENT = bytes(range(256)) * 8
FILE = RemoteFile("a.gz", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGECNN_DATA_MIRROR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def mirror():
    with serve(Mirror({"/set/a.gz": CONTENT})) as served:
        yield served


def get(*mirrors):
    return fetch("set", FILE, [f"{mirror.url}/set" for mirror in mirrors])


def test_a_file_arrives_whole_and_alone(mirror, cache):
    path = get(mirror)
    assert path == cache / "set" / "a.gz" and path.read_bytes() == CONTENT
    assert not list(cache.rglob("*.part"))


def test_a_file_is_downloaded_once(mirror):
    get(mirror)
    get(mirror)
    assert len(mirror.asked) == 1


def test_a_cut_connection_is_resumed_where_it_ended(mirror):
    mirror.cut = 1500
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.asked == [("/set/a.gz", None), ("/set/a.gz", "bytes=1500-")]


def test_an_interrupted_run_is_resumed(mirror, cache):
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "a.gz.part").write_bytes(CONTENT[:700])
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.asked == [("/set/a.gz", "bytes=700-")]


def test_another_mirror_goes_on_where_one_ended(mirror):
    with serve(Mirror({"/set/a.gz": CONTENT}, cut=0)) as broken:
        (kept_in() / "set").mkdir(parents=True)
        (kept_in() / "set" / "a.gz.part").write_bytes(CONTENT[:9])
        assert get(broken, mirror).read_bytes() == CONTENT
    assert mirror.asked == [("/set/a.gz", "bytes=9-")]


def test_a_server_that_ignores_ranges_starts_from_the_beginning(mirror, cache, monkeypatch):
    monkeypatch.setattr(download, "_BLOCK", 100)
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "a.gz.part").write_bytes(CONTENT[:700])
    mirror.ignore_range = True
    assert get(mirror).read_bytes() == CONTENT
    assert mirror.asked == [("/set/a.gz", "bytes=700-")]


def test_a_wrong_beginning_is_thrown_away(mirror, cache):
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "a.gz.part").write_bytes(b"x" * 700)
    assert get(mirror).read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_downloaded_again(mirror):
    path = get(mirror)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert get(mirror).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        ({}, "HTTP 404"),
        ({"/set/a.gz": CONTENT[:-1] + b"x"}, "not that file"),
        ({"/set/a.gz": CONTENT + b"x"}, "not that file"),
        ({"/set/a.gz": CONTENT[:-1]}, "the connection was cut"),
    ],
)
def test_a_bad_mirror_gives_way_to_the_next(mirror, served, reason):
    with serve(Mirror(served)) as bad:
        with pytest.raises(DataError, match=reason):
            get(bad)
        assert not (kept_in() / "set" / "a.gz").exists()
        assert get(bad, mirror).read_bytes() == CONTENT


def test_a_machine_without_a_network_gets_one_line_and_a_way_out(cache):
    nowhere = Mirror(url="http://127.0.0.1:9")
    with pytest.raises(DataError, match="refused") as caught:
        get(nowhere)
    assert "\n" not in str(caught.value) and str(cache / "set" / "a.gz") in caught.value.hint


def test_a_server_that_keeps_cutting_is_given_up(mirror):
    mirror.cut = 1
    with pytest.raises(DataError, match="was cut 8 times"):
        get(mirror)


def test_a_silent_server_is_given_up(mirror, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    mirror.delay = 0.5
    with pytest.raises(DataError, match="timed out"):
        get(mirror)


def test_the_users_mirror_replaces_the_public_ones(mirror, monkeypatch):
    monkeypatch.setenv("EDGECNN_DATA_MIRROR", mirror.url)
    assert fetch("set", FILE, ["http://127.0.0.1:9"]).read_bytes() == CONTENT


def test_a_mirror_that_is_no_address_is_refused(monkeypatch):
    monkeypatch.setenv("EDGECNN_DATA_MIRROR", "file:///etc")
    with pytest.raises(InvalidValueError, match="no address"):
        fetch("set", FILE, [])


def test_a_folder_that_cannot_be_written_is_one_clear_error(mirror, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="cannot write"):
        get(mirror)


def test_processes_that_want_the_same_file_download_it_once(mirror):
    mirror.delay = 1.0
    code = """
import sys
from edgecnn.data.download import RemoteFile, fetch

name, size, sha256, mirror = sys.argv[1:]
print(fetch("set", RemoteFile(name, int(size), sha256), [mirror]).read_bytes().hex())
"""
    arguments = [FILE.name, str(FILE.size), FILE.sha256, f"{mirror.url}/set"]
    running = [
        subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=os.environ)
        for _ in range(2)
    ]
    got = [process.communicate(timeout=60)[0].decode().strip() for process in running]
    assert got == [CONTENT.hex()] * 2 and len(mirror.asked) == 1
