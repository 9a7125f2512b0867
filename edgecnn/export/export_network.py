"""The straight way from a request to a file: build, trace, simplify, reduce precision, check, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.artifact import Manifest, check_onnx_output
from edgecnn.backends import ONNXRUNTIME
from edgecnn.data.calibration_images import ImageSource
from edgecnn.data.trained_on import open_for
from edgecnn.export.export_request import ExportRequest
from edgecnn.optional_packages import require
from edgecnn.parity import Parity
from edgecnn.progress import Progress, silent
from edgecnn.record import Record
from edgecnn.stages import Stage, Stages, to_json

if TYPE_CHECKING:
    from edgecnn.quantize.accuracy_floor import Ruined


@dataclass(frozen=True)
class Exported(Record):
    """A file that was written."""

    path: Path
    sha256: str
    bytes: int
    manifest: Manifest
    #: The file against PyTorch, on images that did not calibrate it.
    parity: Parity
    #: What each stage took, by name.
    stages: Mapping[str, Stage]
    #: What of a checkpoint was adapted.
    notes: list[str]
    #: Whether budget and floor were met; None where no budget was given and the floor was met.
    met: bool | None = None
    #: Set for int8 that is below the floor.
    ruined: Ruined | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        manifest = self.manifest
        quantization = dict(manifest.quantization or {})
        quantization.pop("ranges", None)
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "architecture": manifest.architecture,
            "alpha": manifest.alpha,
            "resolution": manifest.resolution,
            "weights": manifest.weights,
            "params": manifest.params,
            "macs": manifest.macs,
            "precision": manifest.precision,
            "target": manifest.target,
            "parity": self.parity.to_json(),
            "quantization": quantization or None,
            "seconds": round(sum(stage.seconds for stage in self.stages.values()), 3),
            "stages": to_json(self.stages),
            "notes": self.notes,
        }


def export(request: ExportRequest, progress: Progress = silent) -> Exported:
    """Export a network; `progress` is called with what begins to be done.

    The file is written whole or not at all, and only after it agreed with PyTorch on real images.
    Raises a subclass of EdgecnnError that says what was wrong.
    """
    check_onnx_output(request.output)
    images = _images(request, progress)
    for module in ("torch", "onnx", "onnxscript", "onnxsim", ONNXRUNTIME.library):
        require(module, "exporting a network")
    from edgecnn.export import export_stages as stages
    from edgecnn.quantize.write_file import write_model

    lineage = stages.Lineage()
    with Stages(progress) as clock:
        clock("build")
        built = stages.build(request.network, images, lineage)
        clock("trace")
        model = stages.to_graph(request, built, lineage)
        clock("simplify")
        model, layers, reference = stages.simplify_graph(request, model, built, lineage)
        clock("reduce precision")
        reduced = stages.reduce_graph(request, model, built, images, reference, lineage, clock)
        clock("check")
        checked = stages.check_graph(request, reduced, built, images, reference, lineage)
        clock("write")
        manifest = stages.describe(request, built, layers, checked.quantization, lineage)
        if request.nms:
            reduced, manifest = stages.suppress(request, reduced, built, manifest)
        del reduced.model.metadata_props[:]
        written = write_model(request.output, reduced.model, manifest)
    return Exported(
        **vars(written),
        parity=checked.parity,
        stages=clock.taken,
        notes=[*built.notes, *reduced.notes, *images.notes],
        met=checked.met,
        ruined=checked.ruined,
    )


def _images(request: ExportRequest, progress: Progress) -> ImageSource:
    """List the images that calibrate and check. Raises DataError."""
    network, dataset = request.network, None
    if request.data is not None:
        dataset = open_for([network.manifest], request.data, task=None, progress=progress)
    return ImageSource.open(
        network.preprocessing,
        calib=request.calib,
        dataset=dataset,
        count=request.calib_images,
        batch=request.batch,
        digits=network.labels == "digits",
        seed=request.seed,
    )
