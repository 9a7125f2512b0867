"""A server on this machine that serves files as badly as it is told to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Mirror:
    """What it serves by path, how, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    #: Close the connection after so many bytes of each answer.
    cut: int | None = None
    #: Answer 200 with everything even if a range was asked for.
    ignore_range: bool = False
    #: Seconds to wait before each answer.
    delay: float = 0.0
    url: str = ""
    #: (path, the header Range or None) of each request.
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@contextlib.contextmanager
def serve(mirror: Mirror) -> Iterator[Mirror]:
    """Serve on a free port of the loopback interface; sets `mirror.url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            mirror.asked.append((self.path, wanted))
            threading.Event().wait(mirror.delay)
            content = mirror.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            first = (
                int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and not mirror.ignore_range else 0
            )
            self.send_response(206 if first else 200)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            self.wfile.write(content[first:][: mirror.cut])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
