"""Build with TensorRT-RTX, which needs no GPU for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest

from edgecnn.artifact import Manifest
from edgecnn.compile import BatchRange, CompileRequest, compile_file
from edgecnn.compile.build_engine import Compiled
from edgecnn.compile.builders import Source
from edgecnn.compile.tensorrt_builder import build as build_engine
from edgecnn.progress import silent


def build(path: Path) -> int:
    """Return the bytes of an engine for compute capability 8.9; raises EngineError if there is none."""
    pytest.importorskip("tensorrt_rtx", reason="no wheel for this platform")
    first = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[0]
    batch = None if first.dim_value else BatchRange(1, 1, 8)
    request = CompileRequest(path, backend="tensorrt-rtx", sm=("8.9",), batch=batch)
    built = build_engine(Source(path, "", Manifest((), ())), request, silent)
    return sum(map(len, built.files.values()))


def compiled(path: Path, **values: Any) -> Compiled:
    """Compile a file to an engine beside it, for TensorRT-RTX unless `values` say otherwise."""
    values = {"backend": "tensorrt-rtx", "output": path.with_suffix(".engine"), **values}
    return compile_file(CompileRequest(path, **values))
