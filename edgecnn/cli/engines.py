"""`--backend`: the engines of a command that measures, built for this machine where they are not yet."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgecnn.runtime.engine import Engine

backend_option = click.option(
    "--backend",
    help="Build ONNX files for this engine library first, kept by content: ort, openvino, tensorrt,"
    " tensorrt-rtx  [run them as they are].",
)


@contextlib.contextmanager
def opened(
    models: Sequence[str], backend: str | None, progress: Callable[[str], None], **loading: Any
) -> Iterator[list[Engine]]:
    """Open model files; with a backend, engines made of them for this machine. All are closed at the end."""
    from edgecnn.runtime import load

    with contextlib.ExitStack() as stack:
        engines = []
        for model in models:
            path = Path(model)
            if backend is not None:
                from edgecnn.compile.rebuild import engine_for

                path = engine_for(path, backend, progress)
            engines.append(stack.enter_context(load(path, **loading)))
        yield engines
