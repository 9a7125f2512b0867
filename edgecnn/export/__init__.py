"""From a name to an artifact: `export(ExportRequest("mobilenet", Path("m.onnx"), alpha=0.5, precision="int8"))`."""

from edgecnn.export.pipeline import Exported, export
from edgecnn.export.request import ExportRequest

__all__ = ["ExportRequest", "Exported", "export"]
