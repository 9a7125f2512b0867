"""The table of backends: which files each runs, and which class runs them. One file of this package each."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn.artifact import Manifest
from edgecnn.errors import ArtifactError
from edgecnn.registry import Registry

if TYPE_CHECKING:
    from edgecnn.runtime.engine import Engine


@dataclass(frozen=True)
class Backend:
    """One engine library."""

    name: str
    title: str
    #: Of the files that it runs; `edgecnn compile` writes the last one.
    suffixes: tuple[str, ...]
    #: Module and class of its engine.
    engine: str
    #: Module of the library.
    library: str
    #: Packages that bring the library, by which its version is found without importing it.
    packages: tuple[str, ...]

    def engine_class(self) -> type[Engine]:
        """Return the class whose objects run this backend's files."""
        module, name = self.engine.split(":")
        found: type[Engine] = getattr(importlib.import_module(module), name)
        return found


BACKENDS: Registry[Backend] = Registry("backend")
for _row, _aliases in (
    (
        Backend(
            "onnxruntime",
            "ONNX Runtime",
            (".onnx", ".ort"),
            "edgecnn.runtime.ort_engine:OrtEngine",
            "onnxruntime",
            ("onnxruntime", "onnxruntime-gpu"),
        ),
        ("ort",),
    ),
    (
        Backend(
            "openvino",
            "OpenVINO",
            (".xml",),
            "edgecnn.runtime.openvino_engine:OpenVinoEngine",
            "openvino",
            ("openvino",),
        ),
        (),
    ),
    (
        Backend(
            "tensorrt",
            "TensorRT",
            (".plan", ".engine"),
            "edgecnn.runtime.tensorrt_engine:TensorRtEngine",
            "tensorrt",
            ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
        ),
        ("trt",),
    ),
    (
        Backend(
            "tensorrt-rtx",
            "TensorRT-RTX",
            (".engine",),
            "edgecnn.runtime.tensorrt_engine:TensorRtEngine",
            "tensorrt_rtx",
            ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
        ),
        ("rtx",),
    ),
):
    BACKENDS.add(_row.name, _row, _aliases)


def backend_of(path: Path, manifest: Manifest | None) -> Backend:
    """Return what runs a file: what its manifest says, else what its name does; raises ArtifactError."""
    if path.suffix == ".safetensors":
        raise ArtifactError(f"{path} is a checkpoint, which no engine runs", hint=f"edgecnn export {path}")
    if manifest is not None and manifest.engine is not None:
        return BACKENDS.get(manifest.engine.backend)
    found = [row for row in BACKENDS if path.suffix in row.suffixes]
    if any(row.name.startswith("tensorrt") for row in found):
        raise ArtifactError(
            f"{path} has no {path.name}.json beside it, which says what built it and for which GPU",
            hint="copy both files, or build it here: edgecnn compile m.onnx --backend tensorrt",
        )
    # Whatever else it is called, an ONNX file is known by its content.
    return found[0] if found else BACKENDS.get("onnxruntime")
