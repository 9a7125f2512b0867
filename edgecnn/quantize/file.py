"""`edgecnn quantize`: from a float ONNX file, ours or not, to a checked int8 or float16 file."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from edgecnn import __version__, asked, files
from edgecnn.artifact import Manifest, Step, TensorSpec, check_onnx_output, read_manifest
from edgecnn.data.source import ImageSource
from edgecnn.errors import ArtifactError, EngineError, InvalidValueError
from edgecnn.parity import demand, varies
from edgecnn.quantize import assumed, float16, floor, infinite, islands, layer_table, prepare
from edgecnn.quantize.escalate import TRAINING, Finetune, Outcome, Verdict, escalate, picked
from edgecnn.quantize.evaluate import Reference, as_given
from edgecnn.quantize.floor import causes, ruined
from edgecnn.quantize.graph import macs_by_node
from edgecnn.quantize.labelled import Labelled
from edgecnn.quantize.pipeline import Quantized, Quantizer
from edgecnn.quantize.request import QuantizeRequest
from edgecnn.quantize.sensitivity import LayerSensitivity, scan
from edgecnn.quantize.written import Written, write_model
from edgecnn.runtime.images import Preprocessing

#: Least agreement of the prepared graph with the file that was given, in decibels.
_MIN_PREPARED_DB = 60.0
#: Below this a float16 file is not written.
_MIN_HALF_DB = 25.0
#: Images that the layers' sensitivity is measured on.
_SCAN_IMAGES = 16
#: How the preparation is known that nobody said.
_ASSUMED = "assumption"
_MAKERS = ("onnx", "onnxsim", "onnxruntime", "numpy")

Progress = Callable[[str], None]
#: From the prepared float model and its preprocessing to what trains an int8 form of it.
Trainer = Callable[[onnx.ModelProto, Preprocessing], Finetune]


def quantize_file(
    request: QuantizeRequest,
    progress: Progress = lambda step: None,
    trainer: Trainer | None = None,
    training_data: Mapping[str, Any] | None = None,
) -> Written:
    """Quantize an ONNX file; the result is written whole or not at all.

    `trainer`, where there are images to train on, makes what trains an int8 form of the prepared model; the
    lineage then keeps `training_data` (`trained_on.describe`).
    Of a budget that cannot be met the best result is written, and says so in its manifest; the caller
    sees it in `met`. Raises a subclass of EdgecnnError that says what was wrong.
    """
    start = time.perf_counter()
    check_onnx_output(request.output)
    progress("prepare")
    known = read_manifest(request.source)
    original = prepare.load(request.source)
    model = prepare.prepare(original, request.size)
    notes: list[str] = []
    preprocessing, said_by = _preprocessing(request, known, model, notes)
    images = ImageSource.open(
        preprocessing,
        calib=request.calib,
        count=request.calib_images,
        checks=request.check_images,
        batch=model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or None,
        digits=known is not None and known.labels == "digits",
        seed=request.seed,
    )
    if said_by == _ASSUMED and not request.yes:
        assumed.check(model, original, images, str(request.source))
    checks = preprocessing.normalize(images.check_frames())
    reference = _reference(original, model, checks, notes)
    notes += _check_reference(request, reference, model)
    manifest = replace(known or _manifest_of(model, preprocessing), layers=layer_table.layers(model))
    outcome, sensitivity, poor = None, None, None
    quantization: dict[str, Any] | None = None
    parameters: dict[str, Any]
    if request.precision == "int8":
        finetune = trainer(model, preprocessing) if trainer else None
        outcome, sensitivity = _int8(request, model, images, reference, manifest, progress, finetune)
        model = outcome.quantized.model
        if request.resolved_target.backend == "tensorrt":
            model = islands.with_float16(model, picked(outcome.quantized.float_nodes))
        quantization = {**outcome.quantized.to_json(), **outcome.to_json(request.budget)}
        recipe = outcome.quantized.recipe.name
        trained = training_data if TRAINING in recipe else None
        parameters = {"recipe": recipe, "effort": request.effort, **(trained or {})}
    else:
        progress("float16")
        reduced = float16.to_float16(model, float16.extremes(model, images.calibration()))
        model = reduced.model
        parameters = {"kept": reduced.kept}
        notes += reduced.notes()
    notes += images.notes
    progress("check")
    onnx.checker.check_model(model, full_check=True)
    what = f"the {request.precision} model"
    parity = reference.parity(model, what)
    if request.precision == "float16":
        demand(parity, _MIN_HALF_DB, what)
    else:
        why = causes(preprocessing, said_by, images.description, images.tally.count)
        # Of random weights, and of outputs that never change, nothing can be destroyed.
        accepted = request.force or manifest.weights == "random" or not varies(reference.outputs)
        if poor := ruined(parity, request.budget, why, accepted=accepted):
            quantization = {**(quantization or {}), floor.KEY: poor.to_json()}
    step = Step(
        "quantize" if request.precision == "int8" else "float16",
        {
            **parameters,
            "asked": asked.to_json(request, "source", "output", "sensitivity"),
            "target": request.target,
            "images": images.description,
            **images.tally.to_json(),
        },
        request.seed,
        files.sha256(request.source),
        parity.to_json(),
    )
    manifest = replace(
        manifest,
        precision=request.precision,
        target=request.target,
        quantization=quantization,
        lineage=(*manifest.lineage, step),
        versions={"edgecnn": __version__, **{name: importlib.metadata.version(name) for name in _MAKERS}},
    )
    written = write_model(request.output, model, manifest, parity, start, notes, outcome, sensitivity)
    return replace(written, ruined=poor)


def _int8(
    request: QuantizeRequest,
    model: onnx.ModelProto,
    images: ImageSource,
    reference: Reference,
    manifest: Manifest,
    progress: Progress,
    finetune: Finetune | None,
) -> tuple[Outcome, list[LayerSensitivity] | None]:
    labelled = Labelled.open(request.data, images.preprocessing, manifest, model) if request.data else None
    quantizer = Quantizer(model, images.calibration, request.resolved_target.scheme, request.ranges, progress)

    def judge(candidate: onnx.ModelProto) -> Verdict:
        parity = reference.parity(candidate, "the int8 model")
        return Verdict(parity, labelled.drop(candidate) if labelled else None)

    def ranked(quantized: Quantized) -> list[LayerSensitivity]:
        return scan(quantized, quantizer.macs, reference.images[:_SCAN_IMAGES], progress)

    outcome = escalate(quantizer, judge, ranked, request.effort, request.budget, progress, finetune)
    return outcome, ranked(outcome.quantized) if request.sensitivity else None


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
    infinite.check_outputs(model, reference.outputs, checks)
    what = "the prepared graph"
    demand(reference.parity(model, what), _MIN_PREPARED_DB, what)
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
    request: QuantizeRequest, known: Manifest | None, model: onnx.ModelProto, notes: list[str]
) -> tuple[Preprocessing, str]:
    """Return how images become inputs, fitted to the input's shape, and where that is known from."""
    _, channels, height, width = _input_shape(model)
    if height != width:
        raise ArtifactError(
            f"{request.source} takes {height} x {width} pixels", hint="only square inputs can be prepared yet"
        )
    if request.preprocessing is not None:
        chosen, said_by = request.preprocessing, "--mean and --std"
        if chosen.channels != channels:
            raise InvalidValueError(
                f"{request.source} takes {channels} channels, the mean and deviation {chosen.channels}",
                hint="give --mean and --std one number per channel",
            )
    elif known is not None and known.preprocessing:
        chosen, said_by = Preprocessing.from_json(known.preprocessing), "the file's manifest"
    else:
        notes.append(assumed.NOTE)
        chosen, said_by = Preprocessing(), _ASSUMED
    return chosen.at(height).with_channels(channels), said_by


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
        resolution=preprocessing.size,
        macs=sum(macs_by_node(model).values()),
    )
