"""Engines of this machine, kept by content: built when first asked for, and anew when something differs."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from edgecnn import artifact, files
from edgecnn.artifact import EngineRecord
from edgecnn.compile.pipeline import Progress, compile_file
from edgecnn.compile.request import BatchRange, CompileRequest
from edgecnn.errors import ArtifactError, EngineError
from edgecnn.runtime import fit
from edgecnn.runtime.backends import BACKENDS


def engine_for(path: Path, backend: str, progress: Progress = lambda step: None) -> Path:
    """Return an engine that runs here: of an ONNX file for `backend`, or of an engine's for its own.

    An engine that runs here is returned as it is; another is made anew from its ONNX file.

    What was made before, for the same content, library, driver and board, is used again. Raises what
    `compile_file` and `rebuilt` raise.
    """
    manifest = artifact.read_manifest(path)
    if manifest is None or manifest.engine is None:
        request = CompileRequest(path, backend=BACKENDS.get(backend).name)
        return _kept(request, files.sha256(path), {}, path.stem, progress)
    row = BACKENDS.get(manifest.engine.backend)
    try:
        fit.check(path, manifest, row.engine_class().here(row))
    except (ArtifactError, EngineError):
        return rebuilt(path, manifest.engine, progress)
    return path


def rebuilt(path: Path, record: EngineRecord, progress: Progress = lambda step: None) -> Path:
    """Return an engine like that at `path`, for this machine: from the cache, or built now.

    It is known by the content of its ONNX file, by what the builder is told and by what this machine is.
    Raises ArtifactError if the ONNX file is not there or not the one that the engine was built from.
    """
    parent = path.with_name(record.parent)
    if not record.parent or not parent.is_file():
        raise ArtifactError(
            f"{path.name} cannot be built anew: {record.parent or 'its ONNX file'} is not beside it",
            hint="copy the ONNX file as well",
        )
    if files.sha256(parent) != record.parent_sha256:
        raise ArtifactError(
            f"{parent} is not the file that {path.name} was built from",
            hint=fit.rebuild_command(path, record),
        )
    return _kept(_request(parent, record), record.parent_sha256, dict(record.flags), path.stem, progress)


def _kept(request: CompileRequest, sha256: str, flags: dict[str, Any], stem: str, progress: Progress) -> Path:
    backend = BACKENDS.get(request.backend)
    here = backend.engine_class().here(backend)
    key = json.dumps([sha256, backend.name, flags, here], sort_keys=True)
    folder = files.cache_folder() / "engines" / hashlib.sha256(key.encode()).hexdigest()[:32]
    found = folder / f"{stem}{backend.suffixes[-1]}"
    if found.is_file():
        with contextlib.suppress(ArtifactError, EngineError):
            manifest = artifact.read_manifest(found)
            if manifest is not None:
                fit.check(found, manifest, here)
                return found
    folder.mkdir(parents=True, exist_ok=True)
    return compile_file(dataclasses.replace(request, output=found), progress).path


def _request(parent: Path, record: EngineRecord) -> CompileRequest:
    """Return what was asked when an engine was built, for this machine in place of that one."""
    flags = dict(record.flags)
    batch = BatchRange(*flags["batch"]) if flags.get("batch") else None
    kept = {
        name: flags[name]
        for name in (
            "threads",
            "device",
            "hint",
            "bf16",
            "workspace_mib",
            "version_compatible",
            "hardware_compatible",
            "sparsity",
            "dla",
        )
        if flags.get(name) is not None
    }
    return CompileRequest(parent, None, record.backend, batch=batch, **kept)
