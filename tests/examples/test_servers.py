"""The servers of examples/ classify what they are sent, and answer in words what they cannot."""

import asyncio
import collections
import concurrent.futures
import contextlib
import http.client
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.runtime import load, open_image

SERVERS = ["server_threads", "server_fastapi"]


@pytest.fixture(scope="module")
def mobilenet(exported) -> Path:
    return exported("mobilenet", "--alpha", "0.5")


@pytest.fixture(scope="module")
def best(mobilenet, photographs) -> list[int]:
    with load(mobilenet, threads=1) as engine:
        return [engine.predict(photo, top=1)[0][0].index for photo in photographs]


@contextlib.contextmanager
def running(script: Path, model: Path) -> Iterator[str]:
    """The address of a server while it runs."""
    if "fastapi" in script.name:
        for package in ("fastapi", "uvicorn"):
            pytest.importorskip(package, reason='pip install "edgecnn[examples]"')
    process = subprocess.Popen(
        [sys.executable, script, model, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = None
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            address = found[0]
            break
    assert address, "the server did not start"
    # What it logs is read, or a full pipe would stop it.
    threading.Thread(target=process.stdout.read, daemon=True).start()
    yield address
    process.terminate()
    process.wait(20)


#: Seconds that the servers of the tests wait for a request.
PATIENCE = 3


@pytest.fixture(scope="module", params=SERVERS)
def server(request, examples, mobilenet, tmp_path_factory) -> Iterator[str]:
    """The address of a running server, which is less patient than the example."""
    folder = shutil.copytree(examples / "python", tmp_path_factory.mktemp("examples") / "python")
    text = (folder / "uploads.py").read_text()
    assert "\nBODY_SECONDS = 20\n" in text
    (folder / "uploads.py").write_text(text.replace("BODY_SECONDS = 20", f"BODY_SECONDS = {PATIENCE}"))
    with running(folder / f"{request.param}.py", mobilenet) as address:
        yield address


def post(address: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, dict]:
    request = urllib.request.Request(f"{address}/classify", data=body, headers=headers or {}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_requests_side_by_side_get_their_own_answers(server, photographs, best):
    bodies = [photo.read_bytes() for photo in photographs]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda index: post(server, bodies[index % 3]), range(24)))
    assert [status for status, _ in answers] == [200] * 24
    assert [answer["classes"][0]["index"] for _, answer in answers] == best * 8


def test_an_answer_has_five_classes_with_probabilities(server, photographs, mobilenet):
    _, answer = post(server, photographs[0].read_bytes())
    with load(mobilenet, threads=1) as engine:
        expected = engine.predict(photographs[0])[0]
    assert [item["label"] for item in answer["classes"]] == [item.label for item in expected]
    assert np.allclose(
        [item["probability"] for item in answer["classes"]], [item.probability for item in expected]
    )


@pytest.mark.parametrize("body", [b"no image", b"", b"\x89PNG\r\n\x1a\n cut"])
def test_a_bad_image_is_a_bad_request_with_the_reason(server, body):
    status, answer = post(server, body)
    assert status == 400
    assert answer["error"].startswith("the image is")


def test_health_says_what_is_loaded(server, mobilenet):
    with urllib.request.urlopen(f"{server}/health", timeout=10) as answer:
        assert json.loads(answer.read()) == {
            "model": mobilenet.name,
            "backend": "onnxruntime",
            "device": "cpu",
        }


@pytest.mark.parametrize(("length", "status"), [("20000001", 413), ("9" * 18, 413), (None, 411)])
def test_a_body_that_is_too_long_or_has_no_length_is_refused_unread(server, length, status):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server).netloc, timeout=30)
    connection.putrequest("POST", "/classify")
    connection.putheader(
        *(("Transfer-Encoding", "chunked") if length is None else ("Content-Length", length))
    )
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_another_path_is_not_found(server):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server}/nowhere", timeout=10)


def form(photo: bytes) -> tuple[bytes, str]:
    """A form with a text and a file, as a browser sends it."""
    boundary = "----edge42"
    parts = [
        b'Content-Disposition: form-data; name="comment"\r\n\r\nmy cup',
        b'Content-Disposition: form-data; name="image"; filename="a.ppm"\r\nContent-Type: image/x\r\n\r\n'
        + photo,
    ]
    body = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return body + b"--" + boundary.encode() + b"--\r\n", f"multipart/form-data; boundary={boundary}"


def test_a_form_with_a_file_is_understood(server, photographs, best):
    body, kind = form(photographs[0].read_bytes())
    status, answer = post(server, body, {"Content-Type": kind})
    assert (status, answer["classes"][0]["index"]) == (200, best[0])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"--x\r\n\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"anything", "multipart/form-data"),
        (b"", "multipart/form-data; boundary=x"),
    ],
)
def test_a_form_without_a_file_is_a_bad_request(server, body, kind):
    status, answer = post(server, body, {"Content-Type": kind})
    assert status == 400 and answer["error"] == "the form holds no file"


def test_a_picture_of_too_many_pixels_is_refused_undecoded(server):
    stream = io.BytesIO()
    Image.new("1", (6000, 5000)).save(stream, "PNG")
    status, answer = post(server, stream.getvalue())
    assert status == 400 and "too large to decode: 6000 x 5000" in answer["error"]


def test_postscript_is_no_picture(server):
    status, answer = post(
        server, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n"
    )
    assert status == 400 and "is not an image" in answer["error"]


def test_every_one_of_500_connections_at_once_gets_an_answer(server, photographs):
    host, port = urllib.parse.urlsplit(server).netloc.split(":")
    stream = io.BytesIO()
    open_image(photographs[0]).resize((64, 64)).save(stream, "JPEG")

    def request(body: bytes) -> bytes:
        lines = ("POST /classify HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    # Most of them send no image, as that costs the machine of the tests less.
    requests = [request(stream.getvalue() if number % 10 == 0 else b"no image") for number in range(500)]

    async def one(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer

    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*map(one, requests))

    answers = asyncio.run(all_of_them())
    statuses = collections.Counter(answer.split(b" ", 2)[1] for answer in answers)
    assert set(statuses) <= {b"200", b"400", b"503"} and statuses[b"200"] > 10 and statuses[b"400"] > 90
    assert all(b"{" in answer for answer in answers)


HEADS = {
    "one long header": b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000_000 + b"\r\n\r\n",
    "many headers": b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X: abcdefgh\r\n" * 100_000 + b"\r\n",
    "a long path": b"GET /" + b"a" * 10_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_head_that_is_too_long_or_none_is_refused_in_words(server, head):
    host, port = urllib.parse.urlsplit(server).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for start in range(0, len(head), 1 << 20):
            connection.sendall(head[start : start + (1 << 20)])
            time.sleep(0.01)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    first, _, rest = answer.partition(b"\r\n")
    assert first.split()[1] in (b"400", b"414", b"431")
    assert "head is longer than 64 KiB" in json.loads(rest.partition(b"\r\n\r\n")[2])["error"]


#: What a request begins with, and what then comes a byte at a time.
TRICKLES = {
    "body": (b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"x"),
    "headers": (b"POST /classify HTTP/1.1\r\n", b"X: y\r\n"),
    "request line": (b"", b"P"),
}


def trickled(server: str, begin: bytes, more: bytes) -> tuple[bytes, float]:
    """The first line of the answer to a request that does not end, and the seconds until it came."""
    host, port = urllib.parse.urlsplit(server).netloc.split(":")
    start = time.perf_counter()
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(begin)
        answer = b""
        while time.perf_counter() - start < 15 and not answer:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(more)
            connection.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(1000)
    return answer.split(b"\r\n")[0], time.perf_counter() - start


def test_requests_that_trickle_end_with_the_reason(server):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ended = {name: pool.submit(trickled, server, *request) for name, request in TRICKLES.items()}
    for name, future in ended.items():
        line, seconds = future.result()
        assert b" 408 " in line and seconds < 10, name
