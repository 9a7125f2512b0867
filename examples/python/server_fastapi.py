"""A classifier behind HTTP, with FastAPI: python server_fastapi.py MODEL

    pip install "edgecnn[ort,examples]"
    curl --data-binary @photo.jpg http://127.0.0.1:8000/classify
    curl -F image=@photo.jpg http://127.0.0.1:8000/classify
    curl http://127.0.0.1:8000/health

The page /docs describes the interface. One engine serves all requests from a pool of threads; the event loop
never waits for an inference. `uploads.py` and `heads.py`, beside this file, say what is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

import uploads
import uvicorn
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from heads import Heads
from pydantic import BaseModel

from edgecnn.errors import DataError, EdgecnnError
from edgecnn.runtime import Engine, load

T = TypeVar("T")


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
    bodies = asyncio.Semaphore(uploads.MAX_BODIES)
    pictures = CapacityLimiter(uploads.MAX_PICTURES)

    @app.exception_handler(EdgecnnError)
    async def fail(request: Request, error: EdgecnnError) -> JSONResponse:
        """Blame the client for a bad image, and ourselves for anything else."""
        status = 400 if isinstance(error, DataError) else 500
        return JSONResponse({"error": str(error), "hint": error.hint}, status_code=status)

    @app.get("/health")
    def health() -> Health:
        """Say that the engine is loaded, and which."""
        return Health(model=engine.path.name, backend=engine.backend, device=engine.device)

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> JSONResponse:
        """Answer in the same form as for a bad image."""
        values = error.detail if isinstance(error.detail, dict) else {"error": error.detail, "hint": None}
        return JSONResponse(values, status_code=error.status_code)

    @app.post("/classify")
    async def classify(request: Request) -> Answer:
        """Classify the image in the request's body, or in the form that it is."""
        if refused := uploads.refusal(request.headers.get("content-length")):
            raise HTTPException(refused[0], refused[1])
        await within(bodies.acquire(), uploads.WAIT_SECONDS, 503, uploads.BUSY)
        try:
            body = await within(request.body(), uploads.BODY_SECONDS, 408, uploads.SLOW)
            kind = request.headers.get("content-type")
            best = await to_thread.run_sync(uploads.classify, engine, body, kind, limiter=pictures)
        finally:
            bodies.release()
        return Answer(classes=[Class(**vars(item)) for item in best])

    return app


async def within(work: Awaitable[T], seconds: float, status: int, reason: dict[str, str]) -> T:
    """Return what comes of some work, or answer with a status and a reason where it takes too long."""
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise HTTPException(status, reason) from None


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
        uvicorn.run(
            create_app(engine),
            host=arguments.host,
            port=arguments.port,
            limit_concurrency=uploads.MAX_CONNECTIONS,
            http=Heads,
            h11_max_incomplete_event_size=uploads.MAX_HEAD,
        )


if __name__ == "__main__":
    main()
