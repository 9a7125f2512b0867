"""The engines of a verb that measures: model files as they are, or built for this machine first."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn import artifact
from edgecnn.errors import EdgecnnError
from edgecnn.progress import Progress

if TYPE_CHECKING:
    from edgecnn.measure.measure_options import EngineOptions
    from edgecnn.runtime.engine import Engine

#: The variable is set on a board, where engines come from elsewhere.
REBUILD = "EDGECNN_REBUILD"


def loaders(
    models: Sequence[str | Path],
    request: EngineOptions,
    progress: Progress,
    threads: int | None = None,
) -> list[Callable[[], Engine]]:
    """Return what loads each model file; with a backend, an engine made of it for this machine.

    Where `REBUILD` is set, an engine that does not fit this machine is built anew. `threads` are in place
    of the request's.
    """
    from edgecnn.runtime import load

    paths = [_engine(Path(model), request.backend, progress) for model in models]
    threads = request.threads if threads is None else threads
    opening: list[Callable[[], Engine]] = [
        partial(load, path, device=request.device, threads=threads) for path in paths
    ]
    if not request.preparation.says and request.decoding.settings is None:
        return opening
    return [partial(_told, load, request) for load in opening]


@contextlib.contextmanager
def opened(
    models: Sequence[str | Path],
    request: EngineOptions,
    progress: Progress,
    threads: int | None = None,
) -> Iterator[list[Engine]]:
    """Open model files, as `loaders` does. All are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(load()) for load in loaders(models, request, progress, threads)]


def _told(load: Callable[[], Engine], request: EngineOptions) -> Engine:
    """Return an engine that prepares images and reads outputs as is said, whatever its file says."""
    from edgecnn.runtime.preparation_options import prepared_for

    engine = load()
    try:
        if request.preparation.says:
            engine.prepare_by(prepared_for(engine, request.preparation))
        if request.decoding.settings is not None:
            engine.decode_by(request.decoding.settings)
    except EdgecnnError:
        engine.close()
        raise
    return engine


def _engine(path: Path, backend: str | None, progress: Progress) -> Path:
    if backend is None and os.environ.get(REBUILD):
        manifest = artifact.read_manifest(path)
        if manifest is not None and manifest.engine is not None:
            backend = manifest.engine.backend
    if backend is None:
        return path
    from edgecnn.compile.rebuild import engine_for

    return engine_for(path, backend, progress)
