"""`edgecnn quantize`: from a float ONNX file, ours or not, to a checked int8 or float16 file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from edgecnn import request_json
from edgecnn.artifact import Manifest, Step, TensorSpec, check_onnx_output
from edgecnn.backends import ONNXRUNTIME
from edgecnn.data.calibration_images import ImageSource
from edgecnn.errors import EngineError, InvalidValueError
from edgecnn.parity import demand, varies
from edgecnn.progress import Progress, silent
from edgecnn.quantize import accuracy_floor, assumed_preprocessing, finite_outputs
from edgecnn.quantize.escalate import TRAINING, Finetune, Verdict
from edgecnn.quantize.graph import layer_table
from edgecnn.quantize.graph.index import batch_of
from edgecnn.quantize.graph.load_model import load
from edgecnn.quantize.graph.own_preparation import OwnPreparation, own_preparation
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.quantize.labelled_accuracy import Labelled
from edgecnn.quantize.layer_sensitivity import LayerSensitivity, scan
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.quantize.reduce_precision import (
    MIN_SQNR_DB,
    SCAN_IMAGES,
    Checked,
    Reduced,
    Reduction,
    by_escalation,
    check,
    reduce_precision,
)
from edgecnn.quantize.reference import Reference, as_given
from edgecnn.quantize.write_file import QuantizedFile, versions, write_model
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.stages import Stages

#: Images that show whether the prepared graph is still the network that was given.
PREPARED_IMAGES = 16
#: How the preparation is known that nobody said.
_ASSUMED = "assumption"
_MAKERS = ("onnx", "onnxsim", ONNXRUNTIME.library, "numpy")

#: From the prepared float model and its preprocessing to what trains an int8 form of it.
Trainer = Callable[[onnx.ModelProto, Preprocessing], Finetune]


def quantize_file(
    request: QuantizeRequest,
    progress: Progress = silent,
    trainer: Trainer | None = None,
    training_data: Mapping[str, Any] | None = None,
) -> QuantizedFile:
    """Quantize an ONNX file; the result is written whole or not at all.

    `trainer`, where there are images to train on, makes what trains an int8 form of the prepared model; the
    lineage then keeps `training_data` (`trained_on.describe`).
    Of a budget that cannot be met the best result is written, and says so in its manifest; the caller
    sees it in `met`. Raises a subclass of EdgecnnError that says what was wrong.
    """
    start = time.perf_counter()
    check_onnx_output(request.output)
    with Stages(progress) as stages:
        stages("prepare")
        source = _open(request, stages)
        finetune = trainer(source.model, source.preprocessing) if trainer else None
        reduced = _reduce(request, source, stages, finetune)
        sensitivity = _sensitivity(source, reduced, stages) if request.sensitivity else None
        stages("check")
        checked = _check(source, reduced)
        stages("write")
        manifest = _manifest(request, source, reduced, checked, training_data or {})
        written = write_model(request.output, reduced.model, manifest)
    seconds = time.perf_counter() - start
    return QuantizedFile(
        **vars(written),
        parity=checked.parity,
        seconds=seconds,
        notes=[*source.notes, *reduced.notes, *source.images.notes],
        stages=stages.taken,
        outcome=reduced.outcome,
        sensitivity=sensitivity,
        ruined=checked.ruined,
        met=checked.met,
    )


@dataclass(frozen=True)
class _Source:
    """The float file that was given, made ready."""

    sha256: str
    #: Its graph, prepared, and what is known of it.
    model: onnx.ModelProto
    manifest: Manifest
    preprocessing: Preprocessing
    #: Where the preprocessing is known from.
    said_by: str
    images: ImageSource
    #: What it gives for the images that check.
    reference: Reference
    notes: list[str]


def _open(request: QuantizeRequest, progress: Progress) -> _Source:
    """Read and prepare the file, and compute what the other form is compared with."""
    given = load(request.source)
    known, model = given.manifest, prepare(given.model, request.preparation.size)
    notes: list[str] = []
    own = own_preparation(given.model)
    preprocessing, said_by = _preprocessing(request, known, model, own, notes)
    images = ImageSource.open(
        preprocessing,
        calib=request.calib,
        count=request.calib_images,
        checks=request.check_images,
        batch=batch_of(model),
        digits=known is not None and known.labels == "digits",
        seed=request.seed,
    )
    if said_by == _ASSUMED and not request.yes:
        assumed_preprocessing.check(model, given.model, images, str(request.source))
    progress("float outputs")
    checks = preprocessing.normalize(images.check_frames())
    reference = _reference(given.model, model, checks, notes)
    notes += _check_reference(request, reference, model)
    manifest = replace(known or _manifest_of(model, preprocessing), layers=layer_table.layers(model))
    return _Source(given.sha256, model, manifest, preprocessing, said_by, images, reference, notes)


def _reduce(
    request: QuantizeRequest, source: _Source, progress: Progress, finetune: Finetune | None
) -> Reduced:
    """Return the float16 form, or the int8 form that keeps the budget or else most of the network."""
    how = Reduction(
        request.precision,
        request.resolved_target,
        request.ranges,
        request.budget,
        # Of random weights, and of outputs that never change, nothing can be destroyed.
        accepted=request.force or source.manifest.weights == "random" or not varies(source.reference.outputs),
        chosen=ChosenNodes(request.exclude, request.only),
        time=request.time,
        images=source.images.most,
    )
    labelled = None
    if request.data:
        labelled = Labelled.open(request.data, source.preprocessing, source.manifest, source.model)
    if request.precision == "float16":
        progress("float16")
    choose = by_escalation(
        source.reference,
        request.resolved_effort,
        request.budget,
        progress,
        drop=labelled.drop if labelled else None,
        finetune=finetune,
    )
    return reduce_precision(source.model, how, source.images.calibration, choose, progress)


def _sensitivity(source: _Source, reduced: Reduced, progress: Progress) -> list[LayerSensitivity] | None:
    if reduced.outcome is None:
        return None
    images = source.reference.images[:SCAN_IMAGES]
    return scan(reduced.outcome.quantized, macs_by_node(source.model), images, progress)


def _check(source: _Source, reduced: Reduced) -> Checked:
    images = source.images
    why = accuracy_floor.causes(source.preprocessing, source.said_by, images.description, images.tally.count)
    outcome = reduced.outcome
    if outcome is not None and outcome.quantized.model is reduced.model:
        parity = outcome.verdict.parity  # against the same reference
    else:
        parity = source.reference.parity(reduced.model, reduced.what)
    return check(reduced, Verdict(parity), why)


def _manifest(
    request: QuantizeRequest,
    source: _Source,
    reduced: Reduced,
    checked: Checked,
    training_data: Mapping[str, Any],
) -> Manifest:
    """Return the source's manifest with what was done to it."""
    parameters: dict[str, Any] = {"kept": reduced.kept}
    if reduced.outcome is not None:
        recipe = reduced.outcome.quantized.recipe.name
        trained = training_data if TRAINING in recipe else {}
        parameters = {"recipe": recipe, "effort": request.resolved_effort, **trained}
    step = Step(
        "quantize" if request.precision == "int8" else "float16",
        {
            **parameters,
            "asked": request_json.to_json(request, "source", "output", "sensitivity"),
            "target": request.target,
            "images": source.images.description,
            **source.images.tally.to_json(),
        },
        request.seed,
        source.sha256,
        checked.parity.to_json(),
    )
    return replace(
        source.manifest,
        precision=request.precision,
        target=request.target,
        quantization=checked.quantization,
        lineage=(*source.manifest.lineage, step),
        versions=versions(*_MAKERS),
    )


def _reference(
    original: onnx.ModelProto, model: onnx.ModelProto, checks: np.ndarray, notes: list[str]
) -> Reference:
    """Return the outputs of the file as it was given, after the prepared model was compared with them.

    The graph was rewritten: before anything else, it must still be the network that was given.
    """
    try:
        reference = Reference.of(as_given(original), checks, optimize=False)
    except EngineError as error:
        notes.append(f"compared is the upgraded graph, since the file does not run as it is: {error}")
        reference = Reference.of(model, checks)
    finite_outputs.check_outputs(model, reference.outputs, checks)
    what = "the prepared graph"
    demand(reference.first(PREPARED_IMAGES).parity(model, what), MIN_SQNR_DB["float32"], what)
    return reference


def _check_reference(request: QuantizeRequest, reference: Reference, model: onnx.ModelProto) -> list[str]:
    """Return what a reader should know of the float outputs.

    Raises what `Reference.check_budget` raises.
    """
    names = ", ".join(map(repr, reference.not_compared(model)))
    notes = [f"not compared with float, as no numbers could be: output {names}"] if names else []
    if not varies(reference.outputs):
        notes.append(
            "the network gives the same output for every image: what its int8 form keeps of it proves nothing"
        )
    reference.check_budget(request.budget)
    return notes


def _input_shape(model: onnx.ModelProto) -> list[int]:
    return [dim.dim_value or 1 for dim in model.graph.input[0].type.tensor_type.shape.dim]


def _preprocessing(
    request: QuantizeRequest,
    known: Manifest | None,
    model: onnx.ModelProto,
    own: OwnPreparation | None,
    notes: list[str],
) -> tuple[Preprocessing, str]:
    """Return how images become inputs, fitted to the input's shape, and where that is known from."""
    _, channels, height, width = _input_shape(model)
    said, chosen = request.preparation, request.preprocessing
    said_by = said.said_by or (chosen and "`preprocessing`")
    if chosen is not None and chosen.channels != channels:
        raise InvalidValueError(
            f"{request.source} takes {channels} channels, the mean and deviation {chosen.channels}",
            hint="give `mean` and `std` one number per channel",
        )
    if chosen is None and known is not None and known.preprocessing:
        chosen = Preprocessing.from_json(known.preprocessing)
        said_by = said_by or "the file's manifest"
        if not said.says:
            chosen.demand_input(_input_shape(model), "NCHW", request.source.name)
    if said_by is None and own is not None and own.preprocessing is not None:
        chosen, said_by = own.preprocessing, "the graph, which normalizes them itself"
        notes.append(assumed_preprocessing.note_of_graph(own))
    if said_by is None:
        notes.append(assumed_preprocessing.note())
    applied = said.applied(chosen, channels, (height, width), str(request.source))
    if own is not None and own.contradicts(applied):
        notes.append(
            f"the graph itself {own}: `pixels` {own.pixels} without `mean` and `std` would suit that, and"
            f" {said_by or 'what is assumed'} prepares its images otherwise"
        )
    return applied, said_by or _ASSUMED


def _manifest_of(model: onnx.ModelProto, preprocessing: Preprocessing) -> Manifest:
    """Return a manifest for a file that came without one."""

    def spec(value: onnx.ValueInfoProto, layout: str) -> TensorSpec:
        dims = value.type.tensor_type.shape.dim
        shape = tuple(dim.dim_value or dim.dim_param or "batch" for dim in dims)
        return TensorSpec(value.name, shape, "float32", layout)

    return Manifest(
        inputs=(spec(model.graph.input[0], "NCHW"),),
        outputs=tuple(spec(value, "NC") for value in model.graph.output),
        preprocessing=preprocessing.to_json(),
        resolution=preprocessing.size.said,
        macs=sum(macs_by_node(model).values()),
    )
