"""From a network, by name, checkpoint or module, to an ONNX file that was checked against PyTorch.

from edgecnn.export import ExportRequest, export
from edgecnn.zoo import NetworkSpec

exported = export(ExportRequest(NetworkSpec("mobilenet", alpha=0.5), Path("m.onnx"), precision="int8"))
"""

from typing import TYPE_CHECKING

from edgecnn.on_demand import exports

if TYPE_CHECKING:
    from edgecnn.export.export_network import Exported, export
    from edgecnn.export.export_request import ExportRequest

__all__ = ["ExportRequest", "Exported", "export"]
__getattr__ = exports(
    __name__,
    {
        "edgecnn.export.export_network": ("Exported", "export"),
        "edgecnn.export.export_request": ("ExportRequest",),
    },
)
