"""An ONNX file as it is given: read once, and from then on passed along."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path

import onnx

from edgecnn import files, onnx_metadata
from edgecnn.artifact import Manifest, read_manifest
from edgecnn.errors import ArtifactError

#: The largest message that protocol buffers can write.
_MAX_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Loaded:
    """What an ONNX file holds."""

    #: The graph, with the weights of files beside it.
    model: onnx.ModelProto
    #: None for a file that is not ours.
    manifest: Manifest | None
    #: Of the file itself.
    sha256: str


def load(path: str | Path) -> Loaded:
    """Read an ONNX file and the weights that lie in files beside it.

    Raises ArtifactError for a file that is missing, damaged, without its weights or over 2 GB.
    """
    path = Path(path)
    if wrong := files.unlike_file(path, "a model file"):
        raise ArtifactError(f"{path} is {wrong}", hint="give the path of an ONNX file")
    content = path.read_bytes() if path.is_file() else b""  # what is not there is refused next
    manifest = read_manifest(path, io.BytesIO(content))
    onnx_metadata.read(path, io.BytesIO(content))
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, whose module differs with its version
        raise ArtifactError(
            f"{path} is damaged: {first_line(error)}", hint="copy or export it again"
        ) from error
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx raises the checker's error, OSError or ValueError
        raise ArtifactError(
            f"{path} keeps its weights in another file, which cannot be read: {first_line(error)}",
            hint="copy the files beside it as well",
        ) from error
    check_size(model)
    return Loaded(model, manifest, hashlib.sha256(content).hexdigest())


def check_size(model: onnx.ModelProto) -> None:
    """Raise ArtifactError for a model whose weights no ONNX file can hold."""
    held = sum(4 * math.prod(tensor.dims) for tensor in model.graph.initializer)
    if held > _MAX_BYTES:
        raise ArtifactError(
            f"the model's weights take {held / 2**30:.1f} GB; an ONNX file holds 2",
            hint="networks of this size are not meant for the edge",
        )


def first_line(error: Exception) -> str:
    """Return the first line of an error of the onnx package, of which the others are a list of C++ places."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
