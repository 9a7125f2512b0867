"""From an ONNX file to an engine: one file per backend, and what they share."""

from edgecnn.compile.build_engine import Compiled, compile_file
from edgecnn.compile.compile_request import BatchRange, CompileRequest
from edgecnn.compile.rebuild import rebuilt

__all__ = ["BatchRange", "CompileRequest", "Compiled", "compile_file", "rebuilt"]
