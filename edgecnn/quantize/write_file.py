"""The one way to write an ONNX file of ours, and what comes of reducing a file's precision."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from edgecnn import __version__, files
from edgecnn.artifact import METADATA_KEY, Manifest
from edgecnn.parity import Parity
from edgecnn.quantize.accuracy_floor import Ruined
from edgecnn.quantize.escalate import Outcome
from edgecnn.quantize.layer_sensitivity import LayerSensitivity
from edgecnn.record import Record
from edgecnn.stages import Stage, to_json


@dataclass(frozen=True)
class ModelFile:
    """An ONNX file that was written."""

    path: Path
    sha256: str
    bytes: int
    manifest: Manifest


def write_model(path: Path, model: onnx.ModelProto, manifest: Manifest) -> ModelFile:
    """Write a model with its manifest inside, whole or not at all.

    The model is changed in place: the manifest joins its other metadata. Raises OutputError, or
    onnx.checker.ValidationError for a graph that is none.
    """
    onnx.checker.check_model(model, full_check=True)
    metadata = {item.key: item.value for item in model.metadata_props}
    del model.metadata_props[:]
    for key, value in {**metadata, METADATA_KEY: manifest.to_json()}.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "edgecnn", __version__
    content = model.SerializeToString(deterministic=True)
    files.write_atomic(path, content)
    return ModelFile(path, hashlib.sha256(content).hexdigest(), len(content), manifest)


def versions(*packages: str) -> dict[str, str]:
    """Return what the manifest says of who made a file: edgecnn, and these packages."""
    return {"edgecnn": __version__, **{name: importlib.metadata.version(name) for name in packages}}


@dataclass(frozen=True)
class QuantizedFile(ModelFile, Record):
    """A file of another precision, or for another target, that was written."""

    parity: Parity | None
    seconds: float
    notes: list[str]
    #: What each stage took, by name.
    stages: Mapping[str, Stage] = field(default_factory=dict)
    outcome: Outcome | None = None
    sensitivity: list[LayerSensitivity] | None = None
    #: Set for int8 that is below the floor.
    ruined: Ruined | None = None
    #: Whether budget and floor were met; None where no budget was given and the floor was met.
    met: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        quantization = dict(self.manifest.quantization or {})
        quantization.pop("ranges", None)
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "precision": self.manifest.precision,
            "target": self.manifest.target,
            "parity": self.parity.to_json() if self.parity else None,
            "quantization": quantization or None,
            "sensitivity": [layer.to_json() for layer in self.sensitivity] if self.sensitivity else None,
            "seconds": round(self.seconds, 3),
            "stages": to_json(self.stages),
            "notes": self.notes,
        }
