"""The straight way from a request to a file: build, trace, simplify, reduce precision, check, write."""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn import __version__, files
from edgecnn.artifact import METADATA_KEY, LayerRecord, Manifest, Step, TensorSpec, check_onnx_output
from edgecnn.data.calibration_images import ImageSource
from edgecnn.data.trained_on import open_for
from edgecnn.export.export_request import ExportRequest
from edgecnn.lazy import require
from edgecnn.parity import Output, Parity, demand
from edgecnn.progress import Progress, silent

if TYPE_CHECKING:
    from edgecnn.quantize.accuracy_floor import Ruined

#: Least agreement with PyTorch, in dB, below which nothing is written. Every export has to reach the
#: first with its float32 graph, before precision is reduced.
MIN_SQNR_DB = {"float32": 60.0, "float16": 25.0}
#: Images that a random network's batch normalization takes its statistics from.
SETTLE_IMAGES = 16
#: Packages whose versions are recorded.
_MAKERS = ("torch", "onnx", "onnxscript", "onnxsim", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Exported:
    """A file that was written."""

    path: Path
    sha256: str
    bytes: int
    manifest: Manifest
    #: The file against PyTorch, on images that did not calibrate it.
    parity: Parity
    #: Seconds per stage.
    seconds: Mapping[str, float]
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
            "seconds": round(sum(self.seconds.values()), 3),
            "stages": dict(self.seconds),
            "notes": self.notes,
        }


class _Clock:
    """Times the stages, and tells whoever waits which one has begun."""

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    def __call__(self, stage: str) -> _Clock:
        self._stage, self._start = stage, time.perf_counter()
        self._progress(stage)
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.seconds[self._stage] = round(time.perf_counter() - self._start, 3)


def export(request: ExportRequest, progress: Progress = silent) -> Exported:
    """Export a network; `progress` is called with what begins to be done.

    The file is written whole or not at all, and only after it agreed with PyTorch on real images.
    Raises a subclass of EdgecnnError that says what was wrong.
    """
    check_onnx_output(request.output)
    dataset = None
    if request.data is not None:
        dataset = open_for([request.network.manifest], request.data, progress=progress)
    images = ImageSource.open(
        request.network.preprocessing,
        calib=request.calib,
        dataset=dataset,
        count=request.calib_images,
        batch=request.batch,
        digits=request.network.labels == "digits",
        seed=request.seed,
    )
    for module in ("torch", "onnx", "onnxscript", "onnxsim", "onnxruntime"):
        require(module, "exporting a network")
    import onnx
    import torch

    from edgecnn.export import image_input, trace
    from edgecnn.quantize import accuracy_floor
    from edgecnn.quantize.escalate import picked
    from edgecnn.quantize.float16 import convert, float16_layers
    from edgecnn.quantize.graph import layer_table, simplify
    from edgecnn.quantize.reference import Reference, readouts
    from edgecnn.zoo import cost, initialize

    spec, clock, lineage = request.network, _Clock(progress), _Lineage()
    with clock("build"):
        opened = spec.open()
        network, notes = opened.network, list(opened.notes)
        lineage.steps += opened.lineage
        # An input that is too small for the network fails here.
        spent = cost.count(network, spec.preprocessing.channels, spec.size)
        if spec.origin == "random":
            initialize.settle(network, torch.from_numpy(images.builtin(SETTLE_IMAGES)))
            lineage.add("settle", {"images": images.builtin_description})
        frames = images.check_frames()
        inputs = torch.from_numpy(spec.preprocessing.normalize(frames))
        with torch.inference_mode():
            logits = torch.cat([network(part) for part in inputs.split(8)]).numpy()
    with clock("trace"):
        model = trace.trace(network, inputs, opset=request.opset, batch=request.batch)
        traced = {"opset": request.opset, "batch": request.batch, "asked": request.to_json()}
        lineage.add("trace", traced, parent=spec.sha256)
    with clock("simplify"):
        model = simplify.simplify(model)
        lineage.add("simplify", {"nodes": len(model.graph.node)})
        layers = layer_table.layers(model)
        reference = Reference([Output(readouts(model)[0].name, logits)], inputs.numpy())
        reference.check_budget(request.budget)
        if request.precision != "float32":  # else the check at the end is this one
            exact = reference.parity(model, "the float32 graph", constant=False)
            demand(exact, MIN_SQNR_DB["float32"], "the float32 graph")
    quantization, met = None, None
    with clock("reduce precision"):
        if request.precision == "int8":
            parent = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
            outcome = _int8(request, model, images, reference, progress)
            model, met = outcome.quantized.model, outcome.met
            if request.resolved_target.backend == "tensorrt":
                model = float16_layers.with_float16(model, picked(outcome.quantized.float_nodes))
            quantization = {**outcome.quantized.to_json(), **outcome.to_json(request.budget)}
            chosen = {"scheme": outcome.quantized.scheme.name, "recipe": outcome.quantized.recipe.name}
            measured = {"images": images.description, **images.tally.to_json()}
            lineage.add("quantize", {**chosen, **measured}, request.seed, parent)
        elif request.precision == "float16":
            half = convert.to_float16(model, convert.extremes(model, images.calibration()))
            model = half.model
            measured = {"images": images.description, **images.tally.to_json()}
            lineage.add("float16", {"kept": half.kept, **measured}, request.seed)
            notes += half.notes()
        if request.input == "uint8":
            model = image_input.with_uint8_input(model, spec.preprocessing)
            lineage.add("uint8 input", {})
    notes += images.notes
    with clock("check"):
        onnx.checker.check_model(model, full_check=True)
        given = frames if request.input == "uint8" else inputs.numpy()
        what = f"the {request.precision} model"
        parity = reference.parity(model, what, images=given, constant=False)
        demand(parity, MIN_SQNR_DB.get(request.precision, -np.inf), what)
        poor = None
        if quantization is not None:
            why = accuracy_floor.causes(
                spec.preprocessing, "the network", images.description, images.tally.count
            )
            accepted = request.force or spec.origin == "random"
            if poor := accuracy_floor.ruined(parity, request.budget, why, accepted=accepted):
                quantization[accuracy_floor.KEY] = poor.to_json()
                met = met if poor.accepted else False
        lineage.add("check", {"against": "PyTorch"}, metrics=parity.to_json())
    with clock("write"):
        manifest = _manifest(request, spent, layers, quantization, lineage.steps)
        del model.metadata_props[:]
        model.metadata_props.add(key=METADATA_KEY, value=manifest.to_json())
        model.producer_name, model.producer_version = "edgecnn", __version__
        content = model.SerializeToString(deterministic=True)
        files.write_atomic(request.output, content)
    return Exported(
        path=request.output,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        manifest=manifest,
        parity=parity,
        seconds=clock.seconds,
        notes=notes,
        met=met,
        ruined=poor,
    )


class _Lineage:
    """Collects steps."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(
        self,
        what: str,
        parameters: Mapping[str, Any],
        seed: int | None = None,
        parent: str | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        self.steps.append(Step(what, parameters, seed, parent, metrics or {}))


def _int8(
    request: ExportRequest,
    model: Any,
    images: ImageSource,
    reference: Any,
    progress: Progress,
) -> Any:
    """Return the outcome of the escalation, judged against PyTorch's logits."""
    from edgecnn.quantize.escalate import Verdict, escalate
    from edgecnn.quantize.layer_sensitivity import scan
    from edgecnn.quantize.quantizer import Quantizer

    scheme = request.resolved_target.scheme
    quantizer = Quantizer(model, images.calibration, scheme, request.ranges, progress)
    return escalate(
        quantizer,
        lambda candidate: Verdict(reference.parity(candidate, "the int8 model", constant=False)),
        lambda quantized: scan(quantized, quantizer.macs, reference.images[:16], progress),
        request.resolved_effort,
        request.budget,
        progress,
    )


def _manifest(
    request: ExportRequest,
    spent: Any,
    layers: Mapping[str, LayerRecord],
    quantization: Mapping[str, Any] | None,
    lineage: list[Step],
) -> Manifest:
    spec = request.network
    batch: int | str = "batch" if request.batch is None else request.batch
    size, channels = spec.size, spec.preprocessing.channels
    if request.input == "uint8":
        image = TensorSpec("input", (batch, size, size, channels), "uint8", "NHWC")
    else:
        image = TensorSpec("input", (batch, channels, size, size), "float32", "NCHW")
    return Manifest(
        inputs=(image,),
        outputs=(TensorSpec("logits", (batch, spec.classes), "float32", "NC"),),
        preprocessing=spec.preprocessing.to_json(),
        labels=spec.labels,
        architecture=spec.architecture.name,
        alpha=spec.width,
        resolution=size,
        params=spent.params,
        macs=spent.macs,
        layers=layers,
        weights=spec.origin,
        precision=request.precision,
        target=request.target,
        quantization=quantization,
        lineage=tuple(lineage),
        versions={"edgecnn": __version__, **{name: importlib.metadata.version(name) for name in _MAKERS}},
    )
