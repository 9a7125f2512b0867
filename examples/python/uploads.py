"""What both servers ask of a request before they spend memory and time on it."""

from __future__ import annotations

import os
import re

from edgecnn.errors import DataError
from edgecnn.runtime import Engine, Prediction, open_image

#: A longer body is refused unread, a larger picture undecoded.
MAX_BYTES = 20_000_000
MAX_PIXELS = 25_000_000
#: Bytes of the head of a request.
MAX_HEAD = 64 << 10
#: Bodies that are in memory at once, and pictures that are decoded and classified at once; others wait.
MAX_BODIES = 64
MAX_PICTURES = os.cpu_count() or 1
#: Connections at once; further ones are refused.
MAX_CONNECTIONS = 1000
#: Seconds that a request waits for its turn, and in which it must have arrived.
WAIT_SECONDS = 20
BODY_SECONDS = 20

BUSY = {"error": "the server is busy", "hint": "try again in a moment"}
NO_REQUEST = {
    "error": f"this is no HTTP request, or its head is longer than {MAX_HEAD >> 10} KiB",
    "hint": "curl --data-binary @photo.jpg",
}
SLOW = {"error": f"the request did not arrive within {BODY_SECONDS} seconds", "hint": "send a smaller image"}

_BOUNDARY = re.compile(r'boundary="?([^";]{1,70})"?', re.IGNORECASE)


def refusal(length: str | None) -> tuple[int, str] | None:
    """Return status and reason for a body whose header Content-Length is not acceptable, else None."""
    if length is None or not (length.isascii() and length.isdecimal()):
        return 411, "the request does not say how long it is"
    fits = len(length) < 20 and int(length) <= MAX_BYTES
    return None if fits else (413, f"more than {MAX_BYTES} bytes")


def classify(engine: Engine, body: bytes, content_type: str | None) -> list[Prediction]:
    """Return the classes of the image in a body, best first; raises DataError if it holds none."""
    return engine.predict(open_image(image_of(body, content_type), max_pixels=MAX_PIXELS))[0]


def image_of(body: bytes, content_type: str | None) -> bytes:
    """Return the image's bytes: the body itself, or of a form (multipart/form-data) its first file."""
    if not (content_type or "").lower().startswith("multipart/form-data"):
        return body
    boundary = _BOUNDARY.search(content_type or "")
    # Between the boundaries, each of which begins a line, stands a part; behind the last one nothing does.
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1] if boundary else []
    for part in parts:
        head, blank, content = part.partition(b"\r\n\r\n")
        if blank and b"filename" in head.lower():
            return content
    raise DataError("the form holds no file", hint="curl -F image=@photo.jpg, or --data-binary @photo.jpg")
