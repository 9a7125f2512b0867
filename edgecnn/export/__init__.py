"""From a name to an artifact.

from edgecnn.export import ExportRequest, export

exported = export(ExportRequest("mobilenet", Path("m.onnx"), alpha=0.5, precision="int8"))
"""

from edgecnn.export.pipeline import Exported, export
from edgecnn.export.request import ExportRequest

__all__ = ["ExportRequest", "Exported", "export"]
