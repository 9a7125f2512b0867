"""`--backend`: the engines of a command that measures, built for this machine where they are not yet."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecnn.progress import Progress

if TYPE_CHECKING:
    from edgecnn.runtime.engine import Engine

backend_option = click.option(
    "--backend",
    help="Engine library to build ONNX files for first, kept by content: ort, openvino, tensorrt,"
    " tensorrt-rtx  [run them as they are].",
)


#: The variable is set on a board, where engines come from elsewhere.
REBUILD = "EDGECNN_REBUILD"


def loaders(
    models: Sequence[str], backend: str | None, progress: Progress, **loading: Any
) -> list[Callable[[], Engine]]:
    """Return what loads each model file; with a backend, an engine made of it for this machine.

    Where `REBUILD` is set, an engine that does not fit this machine is built anew.
    """
    from edgecnn.runtime import load

    return [partial(load, _engine(Path(model), backend, progress), **loading) for model in models]


@contextlib.contextmanager
def opened(
    models: Sequence[str], backend: str | None, progress: Progress, **loading: Any
) -> Iterator[list[Engine]]:
    """Open model files, as `loaders` does. All are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(each()) for each in loaders(models, backend, progress, **loading)]


def _engine(path: Path, backend: str | None, progress: Progress) -> Path:
    from edgecnn import artifact

    if backend is None and os.environ.get(REBUILD):
        manifest = artifact.read_manifest(path)
        if manifest is not None and manifest.engine is not None:
            backend = manifest.engine.backend
    if backend is None:
        return path
    from edgecnn.compile.rebuild import engine_for

    return engine_for(path, backend, progress)
