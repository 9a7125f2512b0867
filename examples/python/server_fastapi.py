"""A classifier behind HTTP, with FastAPI: python server_fastapi.py MODEL

    pip install "edgecnn[ort,examples]"
    curl --data-binary @photo.jpg http://127.0.0.1:8000/classify
    curl http://127.0.0.1:8000/health

The page /docs describes the interface. One engine serves all requests from FastAPI's pool of threads; the
event loop never waits for an inference.
"""

from __future__ import annotations

import argparse
import sys

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from edgecnn.errors import DataError, EdgecnnError
from edgecnn.runtime import Engine, Prediction, load

MAX_BYTES = 20_000_000


class Class(BaseModel):
    """One class of the image."""

    index: int
    label: str
    probability: float


class Answer(BaseModel):
    """The most probable classes, best first."""

    classes: list[Class]


class Health(BaseModel):
    """What is loaded, and where it runs."""

    model: str
    backend: str
    device: str


def create_app(engine: Engine) -> FastAPI:
    """Return an application around a loaded engine."""
    app = FastAPI(title="edgecnn classifier")

    @app.exception_handler(EdgecnnError)
    async def fail(request: Request, error: EdgecnnError) -> JSONResponse:
        """Blame the client for a bad image, and ourselves for anything else."""
        status = 400 if isinstance(error, DataError) else 500
        return JSONResponse({"error": str(error), "hint": error.hint}, status_code=status)

    @app.get("/health")
    def health() -> Health:
        """Say that the engine is loaded, and which."""
        return Health(model=engine.path.name, backend=engine.backend, device=engine.device)

    @app.post("/classify")
    async def classify(request: Request) -> Answer:
        """Classify the image in the request's body."""
        check_length(request)
        image = await request.body()
        best: list[Prediction] = (await run_in_threadpool(engine.predict, image))[0]
        return Answer(
            classes=[Class(index=item.index, label=item.label, probability=item.probability) for item in best]
        )

    return app


def check_length(request: Request) -> None:
    """Refuse a body before it is read; the server holds a client to the length that it announced."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise HTTPException(411, "the request does not say how long it is")
    if int(length) > MAX_BYTES:
        raise HTTPException(413, f"more than {MAX_BYTES} bytes")


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
    with engine:
        uvicorn.run(create_app(engine), host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
