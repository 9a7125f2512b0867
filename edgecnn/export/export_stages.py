"""The stages of an export, each from what the one before it made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from edgecnn.artifact import LayerRecord, Manifest, Step, TensorSpec
from edgecnn.backends import ONNXRUNTIME
from edgecnn.data.calibration_images import ImageSource
from edgecnn.errors import InvalidValueError
from edgecnn.export import image_input, suppression, trace
from edgecnn.export.export_request import ExportRequest
from edgecnn.parity import Output, demand
from edgecnn.progress import Progress
from edgecnn.quantize import accuracy_floor
from edgecnn.quantize.escalate import Verdict
from edgecnn.quantize.graph import layer_table, simplify
from edgecnn.quantize.graph.readouts import Readout, readouts
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.reduce_precision import (
    MIN_SQNR_DB,
    Checked,
    Reduced,
    Reduction,
    by_escalation,
    check,
    reduce_precision,
)
from edgecnn.quantize.reference import Network, Reference
from edgecnn.quantize.time_budget import TimeBudget
from edgecnn.quantize.write_file import versions
from edgecnn.runtime import labels, prepare
from edgecnn.tasks import NetworkEnd, task_of
from edgecnn.zoo import cost, initialize, network_outputs, reparameterize
from edgecnn.zoo.decoder import decoder, task
from edgecnn.zoo.input_errors import fitting
from edgecnn.zoo.open_network import open_network
from edgecnn.zoo.spec import NetworkSpec

#: Images that a random network's batch normalization takes its statistics from.
SETTLE_IMAGES = 16
#: Images whose boxes are compared after suppression.
_SUPPRESSED = 8
#: Packages whose versions are recorded.
_MAKERS = ("torch", "onnx", "onnxscript", "onnxsim", ONNXRUNTIME.library, "numpy")


class Lineage:
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
        """Note what was done."""
        self.steps.append(Step(what, parameters, seed, parent, metrics or {}))


@dataclass(frozen=True)
class Built:
    """A network, and what PyTorch computes of the images that check."""

    network: nn.Module
    cost: cost.Cost
    #: (N, H, W, C) uint8, and the same prepared for the network: (N, C, H, W) float32.
    frames: npt.NDArray[np.uint8]
    inputs: Tensor
    #: By name, (N, ...); "logits", (N, classes), of a classifier.
    outputs: Mapping[str, Tensor]
    notes: list[str]
    #: See `Opened.origin`.
    origin: str


def build(spec: NetworkSpec, images: ImageSource, lineage: Lineage) -> Built:
    """Build the network with its weights, and run it.

    Raises InvalidValueError for an input that is too small for it, and what opening its weights raises.
    """
    opened = open_network(spec)
    network = opened.network
    lineage.steps += opened.lineage
    if opened.origin == "random":
        with fitting(spec.size):
            initialize.settle(network, torch.from_numpy(images.builtin(SETTLE_IMAGES)))
        lineage.add("settle", {"images": images.builtin_description})
    if folded := reparameterize.fold(network):
        lineage.add("fold branches", {"blocks": folded})
    spent = cost.count(network, spec.preprocessing.channels, spec.size)
    frames = images.check_frames()
    inputs = torch.from_numpy(prepare.normalize(spec.preprocessing, frames))
    with torch.inference_mode(), fitting(spec.size):
        parts = [_rows(network(part), len(part)) for part in inputs.split(8)]
    outputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Built(network, spent, frames, inputs, outputs, list(opened.notes), opened.origin)


def _rows(outputs: Any, images: int) -> dict[str, Tensor]:
    """Return the outputs by name. Raises InvalidValueError for one that has no row for each image."""
    found = network_outputs.named(outputs)
    for name, values in found.items():
        if values.ndim < 1 or len(values) != images:
            raise InvalidValueError(
                f"the network gives {name!r} of shape {tuple(values.shape)} for {images} images",
                hint="each output has a row for each image, on its first axis",
            )
    return found


def to_graph(request: ExportRequest, built: Built, lineage: Lineage) -> onnx.ModelProto:
    """Return the network as a graph."""
    model = trace.trace(
        built.network,
        built.inputs,
        opset=request.opset,
        batch=request.batch,
        outputs=tuple(built.outputs),
        fold=request.network.in_catalogue,
    )
    parameters = {"opset": request.opset, "batch": request.batch, "asked": request.to_json()}
    lineage.add("trace", parameters, parent=request.network.sha256)
    return model


def simplify_graph(
    request: ExportRequest, model: onnx.ModelProto, built: Built, lineage: Lineage
) -> tuple[onnx.ModelProto, dict[str, LayerRecord], Reference]:
    """Return the graph simplified, its layers, and PyTorch's outputs, which its other forms have to give."""
    model = simplify.simplify(model)
    lineage.add("simplify", {"nodes": len(model.graph.node)})
    outputs, spec = _references(model, built), request.network
    end = NetworkEnd([item.spec for item in outputs], spec.size, labels.count(spec.labels))
    meaning = task_of(task(spec), end, decoder(spec, built.network))
    reference = Reference(outputs, built.inputs.numpy(), meaning)
    reference.check_budget(request.budget)
    if request.precision != "float32":  # else the check at the end is this one
        what = "the float32 graph"
        demand(reference.parity(model, what, constant=False), MIN_SQNR_DB["float32"], what)
    return model, layer_table.layers(model), reference


def _references(model: onnx.ModelProto, built: Built) -> list[Output]:
    """Return what PyTorch gives at the outputs that are compared.

    What is compared of an output behind a softmax or an argmax is what enters it, which PyTorch does not
    show: it is the float graph's own, after the output itself was found to be PyTorch's.
    """
    compared = readouts(model)
    given = {name: values.numpy() for name, values in built.outputs.items()}
    hidden = [item for item in compared if item.tensor != item.name]
    if hidden:
        shown = [Readout(name, name) for name, values in built.outputs.items() if values.is_floating_point()]
        images, what = built.inputs.numpy(), "the float32 graph"
        outputs = Network.rewritten(model, shown)(images)
        torchs = [Output(item.name, given[item.name]) for item in shown]
        parity = Reference(torchs, images).parity_of(outputs, what)
        demand(parity, MIN_SQNR_DB["float32"], what)
        inside = Network.rewritten(model, hidden)(images)
        given |= {item.name: item.values for item in inside}
    return [Output(item.name, given[item.name], item.threshold) for item in compared]


def reduce_graph(
    request: ExportRequest,
    model: onnx.ModelProto,
    built: Built,
    images: ImageSource,
    reference: Reference,
    lineage: Lineage,
    progress: Progress,
) -> Reduced:
    """Return the graph in the precision and with the input that are asked for."""
    within = None if request.time is None else TimeBudget(request.time)
    if within is not None:
        within.checks = 2 * len(reference.images)  # as it is chosen, and as it is written
    how = Reduction(
        request.precision,
        request.resolved_target,
        request.ranges,
        request.budget,
        accepted=request.force or built.origin == "random",
        chosen=ChosenNodes(request.exclude, request.only),
        time=within,
        images=images.most,
    )
    parent = None
    if request.precision == "int8":
        parent = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    choose = by_escalation(
        reference, request.effort_for(built.origin), request.budget, progress, constant=False
    )
    result = reduce_precision(model, how, images.calibration, choose, progress)
    measured = {"images": images.description, **images.tally.to_json()}
    if result.outcome is not None:
        chosen = result.outcome.quantized
        parameters = {"scheme": chosen.scheme.name, "recipe": chosen.recipe.name, **measured}
        lineage.add("quantize", parameters, request.seed, parent)
    elif request.precision == "float16":
        lineage.add("float16", {"kept": result.kept, **measured}, request.seed)
    if request.input == "uint8":
        framed = image_input.with_uint8_input(result.model, request.network.preprocessing)
        result = replace(result, model=framed)
        lineage.add("uint8 input", {})
    return result


def check_graph(
    request: ExportRequest,
    reduced: Reduced,
    built: Built,
    images: ImageSource,
    reference: Reference,
    lineage: Lineage,
) -> Checked:
    """Compare what will be written with PyTorch. Raises ParityError."""
    given = built.frames if request.input == "uint8" else built.inputs.numpy()
    parity = reference.parity(reduced.model, reduced.what, images=given, constant=False)
    prepared = (request.network.preprocessing, "the network")
    why = accuracy_floor.causes(prepared, images.description, images.tally.count)
    result = check(reduced, Verdict(parity), why)
    lineage.add("check", {"against": "PyTorch"}, metrics=parity.to_json())
    return result


def describe(
    request: ExportRequest,
    built: Built,
    layers: Mapping[str, LayerRecord],
    quantization: Mapping[str, Any] | None,
    lineage: Lineage,
) -> Manifest:
    """Return what is known of the file."""
    spec, spent = request.network, built.cost
    batch: int | str = "batch" if request.batch is None else request.batch
    size, channels = spec.size, spec.preprocessing.channels
    if request.input == "uint8":
        image = TensorSpec("input", (batch, *size, channels), "uint8", "NHWC")
    else:
        image = TensorSpec("input", (batch, channels, *size), "float32", "NCHW")
    return Manifest(
        inputs=(image,),
        outputs=tuple(
            network_outputs.spec(name, (batch, *values.shape[1:]), values.dtype)
            for name, values in built.outputs.items()
        ),
        task=task(spec),
        decoder=decoder(spec, built.network),
        preprocessing=spec.preprocessing.to_json(),
        labels=spec.labels,
        architecture=spec.architecture.name,
        alpha=spec.width,
        resolution=size.said,
        params=spent.params,
        macs=spent.macs,
        layers=layers,
        weights=built.origin,
        precision=request.precision,
        target=request.target,
        quantization=quantization,
        lineage=tuple(lineage.steps),
        versions=versions(*_MAKERS),
    )


def suppress(
    request: ExportRequest, reduced: Reduced, built: Built, manifest: Manifest
) -> tuple[Reduced, Manifest]:
    """Return the graph with decoding and suppression at its end, and what is known of that.

    Raises InvalidValueError for a decoder without a form as a graph, ParityError for other boxes.
    """
    reads, size = manifest.decoder or {}, request.network.size
    model, end = suppression.with_suppression(reduced.model, reads, size)
    given = built.frames if request.input == "uint8" else built.inputs.numpy()
    few = given[:_SUPPRESSED] if request.batch is None else given[: request.batch]
    raw, ended = (Network.of_outputs(item)(few) for item in (reduced.model, model))
    suppression.demand_same_boxes(raw, ended, reads, size)
    (output,) = model.graph.output
    sizes = [dim.dim_param or dim.dim_value for dim in output.type.tensor_type.shape.dim]
    boxes = TensorSpec(
        output.name, ("batch" if request.batch is None else request.batch, *sizes[1:]), "float32", ""
    )
    steps = (*manifest.lineage, Step("suppression", {"decoder": reads}))
    return replace(reduced, model=model), replace(manifest, outputs=(boxes,), decoder=end, lineage=steps)
