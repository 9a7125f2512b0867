"""A classifier behind HTTP, from the standard library: python server_threads.py MODEL

    curl --data-binary @photo.jpg http://127.0.0.1:8000/classify
    curl http://127.0.0.1:8000/health

Every connection has its own thread; all share one engine, which is loaded once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edgecnn.errors import DataError, EdgecnnError
from edgecnn.runtime import Engine, load

MAX_BYTES = 20_000_000


class ClassifierServer(ThreadingHTTPServer):
    """An HTTP server whose requests share one engine."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], engine: Engine) -> None:
        super().__init__(address, Handler)
        self.engine = engine


class Handler(BaseHTTPRequestHandler):
    """POST /classify with the bytes of an image; GET /health."""

    server: ClassifierServer
    timeout = 30  # seconds that a silent client may hold a thread

    def do_GET(self) -> None:
        """Say that the engine is loaded, and which."""
        if self.path != "/health":
            return self.answer(404, {"error": f"{self.path} is not here"})
        engine = self.server.engine
        self.answer(200, {"model": engine.path.name, "backend": engine.backend, "device": engine.device})

    def do_POST(self) -> None:
        """Classify the image in the request's body."""
        if self.path != "/classify":
            return self.answer(404, {"error": f"{self.path} is not here"})
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            return self.answer(411, {"error": "the request does not say how long it is"})
        if int(length) > MAX_BYTES:
            return self.answer(413, {"error": f"more than {MAX_BYTES} bytes"})
        try:
            classes = self.server.engine.predict(self.rfile.read(int(length)))[0]
        except DataError as error:
            return self.answer(400, {"error": str(error), "hint": error.hint})
        except EdgecnnError as error:
            return self.answer(500, {"error": str(error), "hint": error.hint})
        self.answer(
            200,
            {
                "classes": [
                    {"index": item.index, "label": item.label, "probability": item.probability}
                    for item in classes
                ]
            },
        )

    def answer(self, status: int, values: dict[str, Any]) -> None:
        """Send a JSON object."""
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
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
