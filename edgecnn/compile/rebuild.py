"""Build an engine anew from the ONNX file beside it, and keep it for the next time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from edgecnn import artifact, files
from edgecnn.artifact import EngineRecord
from edgecnn.compile.pipeline import compile_file
from edgecnn.compile.request import BatchRange, CompileRequest
from edgecnn.errors import ArtifactError, EngineError
from edgecnn.runtime import fit
from edgecnn.runtime.backends import BACKENDS


def cache_folder() -> Path:
    """Return where rebuilt engines are kept: `$XDG_CACHE_HOME/edgecnn/engines`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgecnn" / "engines"


def rebuilt(path: Path, record: EngineRecord) -> Path:
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
    backend = BACKENDS.get(record.backend)
    here = backend.engine_class().here(backend)
    key = json.dumps([record.parent_sha256, record.backend, dict(record.flags), here], sort_keys=True)
    folder = cache_folder() / hashlib.sha256(key.encode()).hexdigest()[:32]
    found = folder / f"{path.stem}{backend.suffixes[-1]}"
    if found.is_file():
        with contextlib.suppress(ArtifactError, EngineError):
            manifest = artifact.read_manifest(found)
            if manifest is not None:
                fit.check(found, manifest, here)
                return found
    folder.mkdir(parents=True, exist_ok=True)
    return compile_file(_request(parent, found, record)).path


def _request(parent: Path, output: Path, record: EngineRecord) -> CompileRequest:
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
    return CompileRequest(parent, output, record.backend, batch=batch, **kept)
