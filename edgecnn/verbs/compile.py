"""Turn an ONNX file into an engine: for one backend, or the fastest that runs here."""

from __future__ import annotations

from edgecnn.compile.build_engine import Compiled, compile_file
from edgecnn.compile.compile_request import AUTO, CompileRequest
from edgecnn.compile.fastest_engine import Tried, compile_fastest
from edgecnn.progress import Progress, silent


def compile_model(request: CompileRequest, progress: Progress = silent) -> Compiled | Tried:
    """Build an engine, check it and write it. Raises EngineError or ParityError."""
    if request.backend == AUTO:
        return compile_fastest(request, progress)
    return compile_file(request, progress)
