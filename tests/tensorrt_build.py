"""Parse and build with TensorRT-RTX, which needs no GPU for that."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgecnn.compile import BatchRange, CompileRequest
from edgecnn.compile.builders import Source
from edgecnn.compile.tensorrt_rtx import build as build_engine


def build(path: Path) -> int:
    """Return the bytes of an engine for compute capability 8.9; raises EngineError if there is none."""
    pytest.importorskip("tensorrt_rtx", reason="no wheel for this platform")
    first = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[0]
    batch = None if first.dim_value else BatchRange(1, 1, 8)
    request = CompileRequest(path, backend="tensorrt-rtx", sm=("8.9",), batch=batch)
    built = build_engine(Source(path, "", None), request, lambda step: None)
    return sum(map(len, built.files.values()))
