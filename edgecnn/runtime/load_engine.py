"""From a model file to its engine: which library runs it, and whether it runs here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from edgecnn import artifact
from edgecnn.artifact import EngineRecord, Manifest
from edgecnn.backends import BACKENDS, ONNXRUNTIME, Backend, attribute
from edgecnn.errors import ArtifactError, EngineError, InvalidValueError
from edgecnn.runtime import compatibility
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.preprocessing import Preprocessing

#: Returns an engine for this machine in place of one that does not run here: `compile.rebuild.rebuilt`.
Rebuild = Callable[[Path, EngineRecord], Path]


def load(
    path: str | Path,
    *,
    device: str = "auto",
    threads: int = 0,
    preprocessing: Preprocessing | None = None,
    rebuild: Rebuild | None = None,
) -> Engine:
    """Open a model file: ONNX, or what `edgecnn compile` wrote.

    A compiled file that will not run here is refused before its library sees it, with the command that
    builds it anew; with `rebuild`, which is `edgecnn.compile.rebuilt`, it is built from the ONNX file beside
    it, and kept by content in the user's cache for the next time.

    `device` is "cpu", "cuda", or "auto": CUDA where the installed engine library has it and a GPU
    answers, else the CPU; `engine.device` says which it is. Asking for "cuda" where there is none
    is an error, never a quiet fall-back. `threads` is the number of CPU threads of one inference
    (0: the library's choice). `preprocessing` stands in for a manifest that a foreign file lacks.

    Raises ArtifactError for a damaged file and one whose manifest prepares other images, EngineError if the
    library refuses it or it was built for another machine, MissingPackageError with the pip command if the
    library is not installed.
    """
    if rebuild is not None and not callable(rebuild):
        raise InvalidValueError(
            "rebuild is the function that builds an engine anew",
            hint="edgecnn.load(path, rebuild=True), or runtime.load(path, rebuild=edgecnn.compile.rebuilt)",
        )
    path = Path(path)
    manifest = artifact.read_manifest(path)
    _demand_text(path)
    backend = backend_of(path, manifest)
    make = engine_class(backend)
    if manifest is not None and manifest.engine is not None:
        try:
            compatibility.check(path, manifest, make.here(backend))
        except (ArtifactError, EngineError):
            if rebuild is None:
                raise
            path = rebuild(path, manifest.engine)
            manifest = artifact.read_manifest(path)
    engine = cast(Callable[..., Engine], make)(path, manifest, device=device, threads=threads)
    if preprocessing is not None:
        engine.prepare_by(preprocessing)
        return engine
    try:
        engine.demand_own_preprocessing()
    except ArtifactError:
        engine.close()
        raise
    return engine


def engine_class(backend: Backend) -> type[Engine]:
    """Return the class whose objects run a backend's files."""
    return cast(type[Engine], attribute(backend.engine))


def backend_of(path: Path, manifest: Manifest | None) -> Backend:
    """Return what runs a file: what its manifest says, else what its name does; raises ArtifactError."""
    if path.suffix == ".safetensors":
        raise ArtifactError(f"{path} is a checkpoint, which no engine runs", hint=f"edgecnn export {path}")
    if manifest is not None and manifest.engine is not None:
        return BACKENDS.get(manifest.engine.backend)
    # Whatever else it is called, an ONNX file is known by its content.
    backend = next((row for row in BACKENDS if path.suffix in row.suffixes), ONNXRUNTIME)
    if backend.needs_record:
        raise ArtifactError(
            f"{path} has no {path.name}.json beside it, which says what built it and for which GPU",
            hint=f"copy both files, or build it here: edgecnn compile m.onnx --backend {backend.name}",
        )
    return backend


def _demand_text(path: Path) -> None:
    """Raise ArtifactError for a name that engine libraries cannot open, and would blame the model for."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ArtifactError(
            f"the name of {path} is no UTF-8, and engine libraries open no such file", hint="rename it"
        ) from error
