"""From an ONNX file to an engine: one file per backend, and what they share."""

from typing import TYPE_CHECKING

from edgecnn.on_demand import exports

if TYPE_CHECKING:
    from edgecnn.compile.build_engine import Compiled, compile_file
    from edgecnn.compile.compile_request import BatchRange, CompileRequest
    from edgecnn.compile.rebuild import rebuilt

__all__ = ["BatchRange", "CompileRequest", "Compiled", "compile_file", "rebuilt"]
__getattr__ = exports(
    __name__,
    {
        "edgecnn.compile.build_engine": ("Compiled", "compile_file"),
        "edgecnn.compile.compile_request": ("BatchRange", "CompileRequest"),
        "edgecnn.compile.rebuild": ("rebuilt",),
    },
)
