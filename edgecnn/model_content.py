"""What a model file holds, with the files beside it: its hash, its size, and what an ONNX file is made of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgecnn import files, onnx_metadata
from edgecnn.artifact import Manifest, is_compiled, read_manifest, sidecar
from edgecnn.errors import ArtifactError


@dataclass(frozen=True)
class Inspected:
    """What an ONNX file holds, of which each byte was read once."""

    manifest: Manifest | None
    contents: onnx_metadata.Contents
    #: See `content_sha256`.
    sha256: str


def inspect(path: Path) -> Inspected:
    """Return what an ONNX file holds. Raises what `read_manifest` and `content_sha256` raise."""
    if not path.is_file():
        read_manifest(path)
    with open(path, "rb") as stream:
        manifest, contents = read_manifest(path, stream), onnx_metadata.contents(path, stream)
        return Inspected(manifest, contents, _content_sha256(path, stream, contents))


def content_sha256(path: str | Path) -> str:
    """Return the SHA-256 of an ONNX file; where weights lie in files beside it, of these too.

    Raises ArtifactError if it is no ONNX file, or one of them is not there.
    """
    with open(path, "rb") as stream:
        return _content_sha256(Path(path), stream, onnx_metadata.contents(path, stream))


def _content_sha256(path: Path, stream: BinaryIO, contents: onnx_metadata.Contents) -> str:
    stream.seek(0)
    digests = [files.digest(stream)]
    for name in contents.files:
        if not (path.parent / name).is_file():
            raise ArtifactError(
                f"{path} keeps its weights in {name}, which is not beside it", hint="copy it as well"
            )
        digests.append(files.sha256(path.parent / name))
    return hashlib.sha256("".join(digests).encode()).hexdigest() if len(digests) > 1 else digests[0]


def content_bytes(path: str | Path) -> int:
    """Return how many bytes a model takes: its file, and the files beside it that hold its weights.

    Those are an ONNX file's external data, and the other files of an engine. One that is not there counts 0.
    """
    path = Path(path)
    others: set[str] = set()
    if is_compiled(path):
        manifest = read_manifest(path) if sidecar(path).is_file() else None
        others = set(manifest.engine.files) if manifest and manifest.engine else set()
    elif path.suffix != ".safetensors":
        others = set(onnx_metadata.contents(path).files)
    beside = [path.parent / name for name in sorted(others - {path.name})]
    return sum(place.stat().st_size for place in (path, *beside) if place.is_file())
