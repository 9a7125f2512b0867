"""The float network behind an int8 file: what decides where two int8 forms of it differ.

An engine of another library rounds elsewhere than the ONNX file does in ONNX Runtime. Both may keep as
much of the float network, and yet be farther apart than an engine of a float file ever is from its file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import files
from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.errors import ArtifactError, InvalidValueError, ParityError
from edgecnn.model_content import content_sha256
from edgecnn.parity import Parity
from edgecnn.runtime import load
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import Inputs
from edgecnn.tasks.compare import comparable, compare_outputs, same_outputs

#: An engine may keep so much less of the float network than its ONNX file does, in dB: as much as differs
#: between two sets of a few images.
_LEAST_LOST_DB = 1.0


@dataclass(frozen=True)
class AgainstFloat:
    """What an engine and the ONNX file that it was built from keep of the float network."""

    path: Path
    engine: Parity
    file: Parity

    @property
    def holds(self) -> bool:
        """Whether the engine keeps what the file does."""
        return self.engine.sqnr_db >= self.file.sqnr_db - _LEAST_LOST_DB

    def to_json(self) -> dict[str, Any]:
        """Return the figures, and which file they were measured against."""
        return {"path": self.path.name, "engine": self.engine.to_json(), "file": self.file.to_json()}


def find(source: Path, manifest: Manifest) -> Path | None:
    """Return the float file that an int8 file was made from, if it lies beside it: by its SHA-256."""
    parents = {step.parent for step in manifest.lineage if step.what == "quantize" and step.parent}
    if not parents:
        return None
    for path in sorted(source.parent.glob("*.onnx")):
        if path == source:
            continue
        with contextlib.suppress(ArtifactError, OSError):  # another file, and a damaged one
            if files.sha256(path) in parents or content_sha256(path) in parents:
                return path
    return None


def measure(path: Path, inputs: Inputs, file: Engine, engine: Engine) -> AgainstFloat:
    """Run the float network at `path` on the inputs of an int8 file, and compare both with it.

    Raises InvalidValueError if it is no float network of the same input and outputs.
    """
    with load(path, device="cpu") as reference:
        precision = reference.manifest.precision if reference.manifest else "float32"
        same = _take_the_same(reference.inputs, file.inputs)
        outputs = [spec.name for spec in reference.outputs] == [spec.name for spec in file.outputs]
        if not same or not outputs or precision == "int8":
            raise InvalidValueError(
                f"{path.name} is not the float network of {file.path.name}:"
                f" {precision}, {' x '.join(map(str, reference.input.shape))} {reference.input.dtype}",
                hint="give the file that it was quantized from",
            )
        expected = comparable(reference.rows(inputs))

    def against(other: Engine, what: str) -> Parity:
        outputs = same_outputs(expected, other.rows(inputs), what)
        return compare_outputs(expected, outputs, what, constant=True, task=other.task)

    return AgainstFloat(
        path, against(engine, f"the engine of {engine.backend}"), against(file, file.path.name)
    )


def _take_the_same(ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec]) -> bool:
    """Return whether inputs take the same but for their names and batches; a free size takes any."""
    return len(ours) == len(theirs) and all(
        one.dtype == other.dtype
        and len(one.shape) == len(other.shape)
        and all(
            left == right or isinstance(left, str) or isinstance(right, str)
            for left, right in zip(one.shape[1:], other.shape[1:], strict=True)
        )
        for one, other in zip(ours, theirs, strict=True)
    )


def demand(against: AgainstFloat, what: str) -> None:
    """Raise ParityError if an engine keeps less of the float network than the ONNX file does."""
    if not against.holds:
        raise ParityError(
            f"{what} keeps {against.engine.sqnr_db:.1f} dB of {against.path.name}, and the ONNX file that it"
            f" was built from {against.file.sqnr_db:.1f} dB ({against.engine.images} images)",
            hint="another backend may compute it as the file says: `backend` auto tries all",
        )
