"""A classifier behind HTTP, from the standard library: python server_threads.py MODEL

    curl --data-binary @photo.jpg http://127.0.0.1:8000/classify
    curl -F image=@photo.jpg http://127.0.0.1:8000/classify
    curl http://127.0.0.1:8000/health

Every connection has its own thread; all share one engine, which is loaded once. `uploads.py`, beside this
file, says what is refused.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import uploads

from edgecnn.errors import DataError, EdgecnnError
from edgecnn.runtime import Engine, load


class ClassifierServer(ThreadingHTTPServer):
    """An HTTP server whose requests share one engine."""

    daemon_threads = True
    request_queue_size = 1024  # connections that the system accepts before this program does

    def __init__(self, address: tuple[str, int], engine: Engine) -> None:
        super().__init__(address, Handler)
        self.engine = engine
        self.connections = threading.BoundedSemaphore(uploads.MAX_CONNECTIONS)
        self.bodies = threading.BoundedSemaphore(uploads.MAX_BODIES)
        self.pictures = threading.BoundedSemaphore(uploads.MAX_PICTURES)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread, or where there are too many a word."""
        if self.connections.acquire(blocking=False):
            return super().process_request(request, client_address)
        with contextlib.suppress(OSError):
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\n\r\n" + json.dumps(uploads.BUSY).encode())
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()


class Late(OSError):
    """What a client sends is late. No TimeoutError: http.server would end without an answer."""


class Timed(io.RawIOBase):
    """What a socket receives until a moment; then reading raises Late, however little came before."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self.limit(seconds)

    def limit(self, seconds: float) -> None:
        """Set the moment, so many seconds from now."""
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive what is there."""
        left = self._end - time.monotonic()
        try:
            self._connection.settimeout(max(left, 1e-6))
            return self._connection.recv_into(buffer)
        except TimeoutError:
            raise Late from None


class Handler(BaseHTTPRequestHandler):
    """POST /classify with the bytes of an image, or a form with a file; GET /health."""

    server: ClassifierServer
    unread = True  # whether a client may still be sending
    requestline, request_version = "", "HTTP/1.0"  # until they are read

    def setup(self) -> None:
        """Let the whole request, its head included, arrive within a limit."""
        super().setup()
        self.arriving = Timed(self.connection, uploads.BODY_SECONDS)
        self.rfile = io.BufferedReader(self.arriving)

    def finish(self) -> None:
        """Read what a client still sends for a second: to be cut off, it would lose the answer."""
        super().finish()
        if self.unread:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_WR)
                rest = Timed(self.connection, 1)
                while rest.readinto(bytearray(1 << 16)):
                    pass

    def handle(self) -> None:
        """Serve the request; one whose head is late is told so."""
        try:
            super().handle()
        except Late:
            self.answer(408, uploads.SLOW)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer in the same form what is no request, has too long a head, or another method."""
        self.request_version = "HTTP/1.0"
        self.answer(code, {"error": "only GET and POST are answered"} if code == 501 else uploads.NO_REQUEST)

    def do_GET(self) -> None:
        """Say that the engine is loaded, and which."""
        self.unread = False
        if self.path != "/health":
            return self.answer(404, {"error": f"{self.path} is not here"})
        engine = self.server.engine
        self.answer(200, {"model": engine.path.name, "backend": engine.backend, "device": engine.device})

    def do_POST(self) -> None:
        """Classify the image in the request's body."""
        if self.path != "/classify":
            return self.answer(404, {"error": f"{self.path} is not here"})
        length = self.headers.get("Content-Length")
        if refused := uploads.refusal(length):
            return self.answer(refused[0], {"error": refused[1]})
        if not self.server.bodies.acquire(timeout=uploads.WAIT_SECONDS):
            return self.answer(503, uploads.BUSY)
        try:
            status, values = self.classify(int(length or 0))
        finally:
            self.server.bodies.release()
        self.answer(status, values)

    def classify(self, length: int) -> tuple[int, dict[str, Any]]:
        """Return status and answer for a body of so many bytes."""
        try:
            self.arriving.limit(uploads.BODY_SECONDS)
            body = self.rfile.read(length)
        except Late:
            return 408, uploads.SLOW
        self.unread = False
        try:
            with self.server.pictures:
                classes = uploads.classify(self.server.engine, body, self.headers.get("Content-Type"))
        except EdgecnnError as error:
            status = 400 if isinstance(error, DataError) else 500
            return status, {"error": str(error), "hint": error.hint}
        return 200, {"classes": [vars(item) for item in classes]}

    def answer(self, status: int, values: dict[str, Any]) -> None:
        """Send a JSON object."""
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.connection.settimeout(uploads.BODY_SECONDS)
        self.wfile.write(body)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=1, help="of one inference; requests run side by side")
    arguments = parser.parse_args()
    try:
        engine = load(arguments.model, threads=arguments.threads)
    except EdgecnnError as error:
        sys.exit(f"error: {error}")
    with engine, ClassifierServer((arguments.host, arguments.port), engine) as server:
        print(f"http://{arguments.host}:{server.server_port}/classify", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()
