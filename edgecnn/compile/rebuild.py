"""Engines of this machine, kept by content: built when first asked for, and anew when something differs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecnn import artifact, files, model_content, operating_system
from edgecnn.artifact import EngineRecord
from edgecnn.backends import BACKENDS
from edgecnn.compile.build_engine import compile_file
from edgecnn.compile.compile_request import BatchRange, CompileRequest
from edgecnn.errors import ArtifactError, EngineError, OutputError
from edgecnn.model_content import Inspected
from edgecnn.progress import Progress, silent
from edgecnn.runtime import compatibility
from edgecnn.runtime.load_engine import engine_class


def engine_for(path: Path, backend: str, progress: Progress = silent) -> Path:
    """Return an engine that runs here: of an ONNX file for `backend`, or of an engine's for its own.

    An engine that runs here is returned as it is; another is made anew from its ONNX file.

    What was made before, for the same content, library, driver and board, is used again. Raises what
    `compile_file` and `rebuilt` raise.
    """
    inspected = None if artifact.is_compiled(path) else model_content.inspect(path)
    manifest = inspected.manifest if inspected else artifact.read_manifest(path)
    if manifest is None or manifest.engine is None:
        request = CompileRequest(path, backend=BACKENDS.get(backend).name)
        return _kept(request, inspected or model_content.inspect(path), {}, path.stem, progress)
    row = BACKENDS.get(manifest.engine.backend)
    try:
        compatibility.check(path, manifest, engine_class(row).here(row))
    except (ArtifactError, EngineError):
        return rebuilt(path, manifest.engine, progress)
    return path


def rebuilt(path: Path, record: EngineRecord, progress: Progress = silent) -> Path:
    """Return an engine like that at `path`, for this machine: from the cache, or built now.

    It is known by the content of its ONNX file, by what the builder is told and by what this machine is.
    Raises ArtifactError if the ONNX file is not there or not the one that the engine was built from.
    """
    parent = path.parent / record.parent
    if not record.parent or not parent.is_file():
        raise ArtifactError(
            f"{path.name} cannot be built anew: {record.parent or 'its ONNX file'} is not beside it",
            hint="copy the ONNX file as well",
        )
    inspected = model_content.inspect(parent)
    if inspected.sha256 != record.parent_sha256:
        raise ArtifactError(
            f"{parent} is not the file that {path.name} was built from",
            hint=compatibility.rebuild_command(path, record),
        )
    return _kept(_request(parent, record), inspected, dict(record.flags), path.stem, progress)


def _kept(
    request: CompileRequest, inspected: Inspected, flags: dict[str, Any], stem: str, progress: Progress
) -> Path:
    backend = BACKENDS.get(request.backend)
    here = engine_class(backend).here(backend)
    key = json.dumps([inspected.sha256, backend.name, flags, here], sort_keys=True)
    folder = files.cache_folder() / "engines" / hashlib.sha256(key.encode()).hexdigest()[:32]
    found = folder / f"{stem}{backend.suffixes[-1]}"
    with _one_at_a_time(folder):
        if found.is_file():
            with contextlib.suppress(ArtifactError, EngineError):
                manifest = artifact.read_manifest(found)
                if manifest is not None:
                    compatibility.check(found, manifest, here)
                    return found
        return compile_file(dataclasses.replace(request, output=found), progress, inspected).path


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Make a folder of the cache, and hold it: who comes next waits, and finds what was built.

    Two builds side by side would also time their kernels against each other. The system lets go of the folder
    of a run that is killed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(
            f"engines cannot be kept in {folder}: {error.strerror}",
            hint="set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    try:
        operating_system.lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _request(parent: Path, record: EngineRecord) -> CompileRequest:
    """Return what was asked when an engine was built, for this machine in place of that one."""
    flags = dict(record.flags)
    batch = BatchRange(*flags["batch"]) if flags.get("batch") else None
    kept = {
        name: flags[name] for name in compatibility.OPTIONS if name != "batch" and flags.get(name) is not None
    }
    return CompileRequest(parent, None, record.backend, batch=batch, **kept)
