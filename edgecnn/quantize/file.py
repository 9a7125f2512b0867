"""`edgecnn quantize`: from a float ONNX file, ours or not, to a checked int8 or float16 file."""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgecnn import __version__, asked, files
from edgecnn.artifact import METADATA_KEY, Manifest, Step, TensorSpec, check_onnx_output, read_manifest
from edgecnn.data.source import ImageSource
from edgecnn.errors import ArtifactError, EngineError, InvalidValueError
from edgecnn.parity import Parity, demand, varies
from edgecnn.quantize import assumed, float16, floor, infinite, islands, layer_table, prepare
from edgecnn.quantize.escalate import TRAINING, Finetune, Outcome, Verdict, escalate, picked
from edgecnn.quantize.evaluate import Reference, as_given
from edgecnn.quantize.floor import Ruined, causes, ruined
from edgecnn.quantize.graph import macs_by_node
from edgecnn.quantize.labelled import Labelled
from edgecnn.quantize.pipeline import Quantized, Quantizer
from edgecnn.quantize.request import QuantizeRequest
from edgecnn.quantize.sensitivity import LayerSensitivity, scan
from edgecnn.quantize.strip import strip, to_scheme
from edgecnn.runtime.images import Preprocessing
from edgecnn.targets import target

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


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    path: Path
    sha256: str
    bytes: int
    manifest: Manifest
    parity: Parity | None
    seconds: float
    notes: list[str]
    outcome: Outcome | None = None
    sensitivity: list[LayerSensitivity] | None = None
    #: Set for int8 that is below the floor.
    ruined: Ruined | None = None

    @property
    def met(self) -> bool | None:
        """Whether budget and floor were met; None where no budget was given and the floor was met."""
        if self.ruined and not self.ruined.accepted:
            return False
        return self.outcome.met if self.outcome else None

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        quantization = dict(self.manifest.quantization or {})
        quantization.pop("ranges", None)
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.bytes,
            "precision": self.manifest.precision,
            "target": self.manifest.target,
            "parity": self.parity.to_json() if self.parity else None,
            "quantization": quantization or None,
            "sensitivity": [layer.to_json() for layer in self.sensitivity] if self.sensitivity else None,
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
        }


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
        assumed.check(model, images, str(request.source))
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
    written = _write(request.output, model, manifest, parity, start, notes, outcome, sensitivity)
    return replace(written, ruined=poor)


def requantize_file(
    source: Path, output: Path, target_name: str, progress: Progress = lambda step: None
) -> Written:
    """Write an int8 file of ours for another target, from the ranges that it carries; needs no images."""
    start = time.perf_counter()
    check_onnx_output(output)
    goal = target(target_name)
    progress("requantize")
    known = read_manifest(source)
    if known is None or not known.quantization:
        raise ArtifactError(
            f"{source} is no int8 file of edgecnn: it carries no ranges",
            hint="give the file that edgecnn quantize or edgecnn export --int8 wrote",
        )
    before = islands.without_float16(prepare.load(source))
    model, placement = to_scheme(before, known.quantization, goal.scheme)
    macs = macs_by_node(strip(before).model)
    share = sum(macs.get(node.name, 0) for node in placement.compute) / max(1, sum(macs.values()))
    # Fewer than the scheme has, where they come from a file with fewer.
    bits = 7 if all(weight.largest <= 63 for weight in strip(model).weights.values()) else 8
    if goal.backend == "tensorrt":
        model = islands.with_float16(model, picked(placement.float_nodes))
    # What was tried and measured belongs to the other file.
    others = ("attempts", "budget", floor.KEY)
    kept = {key: value for key, value in known.quantization.items() if key not in others}
    here = {
        "scheme": goal.scheme.name,
        "weight_bits": bits,
        "float_nodes": placement.float_nodes,
        "int8_mac_share": share,
    }
    quantization = {**kept, **here}
    onnx.checker.check_model(model, full_check=True)
    step = Step("requantize", {"from": known.target, "target": target_name}, parent=files.sha256(source))
    manifest = replace(known, target=target_name, quantization=quantization, lineage=(*known.lineage, step))
    notes = ["nothing was measured: no images were given; edgecnn eval or profile can tell how good it is"]
    if bits < known.quantization.get("weight_bits", 8):
        notes.append(
            f"its weights were rounded once more, to {bits} bits, and nothing repaired that: made from the"
            f" float file with --target {target_name}, they keep more"
        )
    return _write(output, model, manifest, None, start, notes, None, None)


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


def _write(
    path: Path,
    model: onnx.ModelProto,
    manifest: Manifest,
    parity: Parity | None,
    start: float,
    notes: list[str],
    outcome: Outcome | None,
    sensitivity: list[LayerSensitivity] | None,
) -> Written:
    metadata: Mapping[str, str] = {item.key: item.value for item in model.metadata_props}
    del model.metadata_props[:]
    for key, value in {**metadata, METADATA_KEY: manifest.to_json()}.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "edgecnn", __version__
    content = model.SerializeToString(deterministic=True)
    files.write_atomic(path, content)
    return Written(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        manifest=manifest,
        parity=parity,
        seconds=time.perf_counter() - start,
        notes=notes,
        outcome=outcome,
        sensitivity=sensitivity,
    )
