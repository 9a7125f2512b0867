"""`edgecnn quantize`: from a float ONNX file, ours or not, to a checked int8 or float16 file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from edgecnn import request_json
from edgecnn.artifact import Manifest, Step, check_onnx_output
from edgecnn.backends import ONNXRUNTIME
from edgecnn.data.calibration_images import ImageSource
from edgecnn.data.sample_files import holds_samples
from edgecnn.errors import EngineError, InvalidValueError
from edgecnn.parity import demand
from edgecnn.progress import Progress, silent
from edgecnn.quantize import accuracy_floor, assumed_preprocessing, calibration_samples, finite_outputs
from edgecnn.quantize.calibration_samples import FileSamples, ImageSamples, SampleSource
from edgecnn.quantize.escalate import TRAINING, Finetune, Verdict
from edgecnn.quantize.graph import layer_table
from edgecnn.quantize.graph.index import batch_of, input_specs, spec_of
from edgecnn.quantize.graph.load_model import load
from edgecnn.quantize.graph.own_preparation import own_preparation
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.quantize.kept_sizes import KeptSizes, keep
from edgecnn.quantize.labelled_accuracy import Labelled
from edgecnn.quantize.layer_sensitivity import SCAN_IMAGES, LayerSensitivity, scan
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.quantize.reduce_precision import (
    MIN_SQNR_DB,
    Checked,
    Reduced,
    Reduction,
    by_escalation,
    check,
    reduce_precision,
)
from edgecnn.quantize.reference import Reference, as_given, task_of_network
from edgecnn.quantize.said_preparation import ASSUMED, Said, said_preparation
from edgecnn.quantize.time_budget import TimeBudget
from edgecnn.quantize.write_file import QuantizedFile, versions, write_model
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.samples import image_spec
from edgecnn.stages import Stages
from edgecnn.tasks.compare import varies

#: Images that show whether the prepared graph is still the network that was given.
PREPARED_IMAGES = 16
_MAKERS = ("onnx", "onnxsim", ONNXRUNTIME.library, "numpy")

#: From the prepared float model, its preprocessing and the constants of its other inputs to what trains an
#: int8 form of it.
Trainer = Callable[[onnx.ModelProto, Preprocessing, Mapping[str, Sequence[float]]], Finetune]


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
    within = None if request.time is None else TimeBudget(request.time)
    with Stages(progress) as stages:
        stages("prepare")
        source = _open(request, stages)
        finetune = trainer(source.model, source.trained_on(), source.manifest.constants) if trainer else None
        reduced = _reduce(request, source, stages, within, finetune)
        sensitivity = _sensitivity(source, reduced, stages) if request.sensitivity else None
        stages("check")
        checked = _check(source, reduced)
        stages("write")
        manifest = _manifest(request, source, reduced, checked, training_data or {})
        written = write_model(request.output, source.sizes.open(reduced.model), manifest)
    seconds = time.perf_counter() - start
    return QuantizedFile(
        **vars(written),
        parity=checked.parity,
        seconds=seconds,
        notes=[*source.notes, *reduced.notes, *source.samples.notes],
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
    #: How its images are prepared; None of a network that takes samples from files.
    said: Said | None
    samples: SampleSource
    #: What it gives for the images that check.
    reference: Reference
    notes: list[str]
    #: Which sizes stay open.
    sizes: KeptSizes

    def trained_on(self) -> Preprocessing:
        """Return how images are prepared for training; raises InvalidValueError where there are none."""
        if self.said is None:
            raise InvalidValueError(
                "`train` takes images, and this network's samples are files",
                hint="leave `train` out: repairs need no labels",
            )
        return self.said.preprocessing


def _open(request: QuantizeRequest, progress: Progress) -> _Source:
    """Read and prepare the file, and compute what the other form is compared with."""
    given = load(request.source)
    known = given.manifest
    samples = request.calib if holds_samples(request.calib) else None
    constants = {**(known.constants if known else {}), **request.inputs.constants}
    sizes = calibration_samples.given_shapes(input_specs(given.model), constants, samples)
    described = calibration_samples.described_size(known, input_specs(given.model))
    size = request.preparation.size or described
    model = prepare(given.model, size, sizes)
    inputs = tuple(input_specs(model))
    notes: list[str] = []
    how: dict[str, Any] = {
        "count": request.calib_images,
        "checks": request.check_images,
        "batch": batch_of(model),
        "seed": request.seed,
    }
    said = None
    source: SampleSource
    if samples is None:
        own = own_preparation(given.model)
        said = said_preparation(request, known, image_spec(inputs), own, notes)
        digits = known is not None and known.labels == "digits"
        images = ImageSource.open(said.preprocessing, calib=request.calib, digits=digits, **how)
        source = ImageSamples(images, inputs, constants)
        if said.by == ASSUMED and not request.yes and [spec.layout for spec in inputs] == ["NCHW"]:
            assumed_preprocessing.check(model, given.model, images, str(request.source))
    else:
        source = FileSamples.open(samples, inputs, **how)
    progress("float outputs")
    checks = source.checks()
    reference = _reference(given.model, model, checks, notes)
    kept = keep(given.model, model, sizes, checks)
    notes += kept.notes
    manifest = known or _manifest_of(model, said.preprocessing if said else None)
    # Of a size that was left open the manifest knows no more than the file.
    manifest = replace(manifest, inputs=inputs if size else manifest.inputs, layers=layer_table.layers(model))
    manifest = kept.described(replace(manifest, constants=constants), model)
    if request.decoding.settings is not None:
        manifest = replace(manifest, task=None, decoder=request.decoding.settings)
    size = said.preprocessing.size if said else None
    reference = replace(reference, meaning=task_of_network(manifest, reference.outputs, size))
    if reference.task.decoder is not None:  # what was recognized once need not be told again
        manifest = replace(manifest, task=reference.task.name, decoder=reference.task.decoder)
    notes += _check_reference(request, reference, model)
    return _Source(given.sha256, model, manifest, said, source, reference, notes, kept)


def _reduce(
    request: QuantizeRequest,
    source: _Source,
    progress: Progress,
    within: TimeBudget | None,
    finetune: Finetune | None,
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
        time=within,
        images=source.samples.most,
    )
    labelled = None
    if request.data:
        prepared = source.said.preprocessing if source.said else None
        labelled = Labelled.open(request.data, prepared, source.manifest, source.model, request.metric)
    if within is not None:
        within.checks = len(source.reference.images) + (labelled.count if labelled else 0)
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
    return reduce_precision(source.model, how, source.samples.calibration, choose, progress)


def _sensitivity(source: _Source, reduced: Reduced, progress: Progress) -> list[LayerSensitivity] | None:
    if reduced.outcome is None:
        return None
    images = source.reference.images[:SCAN_IMAGES]
    return scan(reduced.outcome.quantized, macs_by_node(source.model), images, progress)


def _check(source: _Source, reduced: Reduced) -> Checked:
    said = (source.said.preprocessing, source.said.by) if source.said else None
    samples = source.samples
    why = accuracy_floor.causes(said, samples.description, samples.recorded()["count"])
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
            "images": source.samples.description,
            **source.samples.recorded(),
            **source.sizes.recorded(),
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


def _manifest_of(model: onnx.ModelProto, preprocessing: Preprocessing | None) -> Manifest:
    """Return a manifest for a file that came without one."""
    return Manifest(
        inputs=tuple(input_specs(model)),
        outputs=tuple(map(spec_of, model.graph.output)),
        preprocessing=preprocessing.to_json() if preprocessing else None,
        resolution=preprocessing.size.said if preprocessing else None,
        macs=sum(macs_by_node(model).values()),
    )
