"""Whether a compiled file runs here: found out before its library is asked, which may crash instead."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn.artifact import EngineRecord, Manifest
from edgecnn.backends import Backend
from edgecnn.errors import ArtifactError, EngineError, MissingPackageError
from edgecnn.optional_packages import require

#: Options of `edgecnn compile` that hold on another machine too, as `EngineRecord.flags` keeps them, with
#: what they are unless somebody asks.
OPTIONS: Mapping[str, Any] = {
    "batch": [1, 1, 1],
    "threads": 0,
    "device": "cpu",
    "hint": "latency",
    "bf16": False,
    "workspace_mib": None,
    "version_compatible": False,
    "hardware_compatible": False,
    "sparsity": False,
    "dla": None,
}


def library_version(backend: Backend) -> str:
    """Return the version of a backend's library; raises MissingPackageError where it is not installed."""
    versions = []
    for package in backend.packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(metadata.version(package))
    if not versions:
        raise MissingPackageError(f"{backend.title} is not installed here", hint=backend.install)
    if len(set(versions)) > 1:
        # onnxruntime beside onnxruntime-gpu: they write over each other's files, and only the library knows.
        return str(require(backend.library, f"running in {backend.title}").__version__)
    return versions[0]


def check(path: Path, manifest: Manifest, here: Mapping[str, str]) -> None:
    """Raise unless a compiled file is whole and `here` is what it needs.

    `here` is what this machine is, by the names that `EngineRecord.needs` uses. Raises ArtifactError for
    a file that is damaged or not the one its record was written for, EngineError for another machine.
    """
    record = manifest.engine
    if record is None:
        return
    for name, expected in record.files.items():
        # The parts of an engine that was renamed are found as its library finds them: by the suffix.
        part = path.with_suffix(Path(name).suffix)
        if not part.is_file():
            raise ArtifactError(
                f"{part.name}, which belongs to {path.name}, is missing", hint="copy it as well"
            )
        if files.sha256(part) != expected:
            raise ArtifactError(
                f"{part} is damaged, or not the file that {path.name}.json was written for",
                hint=rebuild_command(path, record),
            )
    if path.suffix not in {Path(name).suffix for name in record.files}:
        raise ArtifactError(
            f"{path.name}.json was written for {', '.join(record.files) or 'no file'}, not for {path.name}",
            hint="give the engine its old suffix again",
        )
    for what, fitting in record.needs.items():
        found = here.get(what, "none")
        if not any(found == value or (value.endswith(".") and found.startswith(value)) for value in fitting):
            wanted = " or ".join(f"{value}x" if value.endswith(".") else value for value in fitting)
            raise EngineError(
                f"{path.name} was built for {what} {wanted}; here it is {found}",
                hint=rebuild_command(path, record),
            )


def rebuild_command(path: Path, record: EngineRecord) -> str:
    """Return the command that builds a file anew on this machine, with the options that it was built with."""
    parent = path.parent / record.parent if record.parent else Path("m.onnx")
    words = ["edgecnn", "compile", str(parent), "--backend", record.backend]
    for name, default in OPTIONS.items():
        value = record.flags.get(name)
        if value is None or value == default:
            continue
        words.append("--" + name.removesuffix("_mib").replace("_", "-"))
        if value is not True:
            words.append(":".join(map(str, value)) if isinstance(value, list) else str(value))
    return shlex.join([*words, "-o", str(path)])
