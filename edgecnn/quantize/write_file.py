"""An int8 or float16 file that was written, and the one way to write one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edgecnn import __version__, files
from edgecnn.artifact import METADATA_KEY, Manifest
from edgecnn.parity import Parity
from edgecnn.quantize.accuracy_floor import Ruined
from edgecnn.quantize.escalate import Outcome
from edgecnn.quantize.layer_sensitivity import LayerSensitivity


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    path: Path
    sha256: str
    bytes: int
    manifest: Manifest
    parity: Parity | None
    seconds: float
    notes: list[str]
    outcome: Outcome | None = None
    sensitivity: list[LayerSensitivity] | None = None
    #: Set for int8 that is below the floor.
    ruined: Ruined | None = None

    @property
    def met(self) -> bool | None:
        """Whether budget and floor were met; None where no budget was given and the floor was met."""
        if self.ruined and not self.ruined.accepted:
            return False
        return self.outcome.met if self.outcome else None

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
            "notes": self.notes,
        }


def write_model(
    path: Path,
    model: onnx.ModelProto,
    manifest: Manifest,
    parity: Parity | None,
    start: float,
    notes: list[str],
    outcome: Outcome | None,
    sensitivity: list[LayerSensitivity] | None,
) -> Written:
    """Write a model with its manifest inside, whole or not at all; `start` is when the work began.

    Raises OutputError.
    """
    metadata: Mapping[str, str] = {item.key: item.value for item in model.metadata_props}
    del model.metadata_props[:]
    for key, value in {**metadata, METADATA_KEY: manifest.to_json()}.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "edgecnn", __version__
    content = model.SerializeToString(deterministic=True)
    files.write_atomic(path, content)
    return Written(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        manifest=manifest,
        parity=parity,
        seconds=time.perf_counter() - start,
        notes=notes,
        outcome=outcome,
        sensitivity=sensitivity,
    )
