"""`edgecnn quantize`: from a float ONNX file, ours or not, to a checked int8 or float16 file."""

from __future__ import annotations

import hashlib
import importlib.metadata
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgecnn import __version__, files
from edgecnn.artifact import METADATA_KEY, Manifest, Step, TensorSpec, read_manifest
from edgecnn.budget import Budget
from edgecnn.data import folder
from edgecnn.data.source import ImageSource
from edgecnn.errors import ArtifactError, DataError, InvalidValueError
from edgecnn.parity import Parity, compare, demand
from edgecnn.quantize import float16, islands, opset, prepare, ranges, requantize
from edgecnn.quantize.escalate import Outcome, Verdict, escalate
from edgecnn.quantize.evaluate import logits
from edgecnn.quantize.graph import macs_by_node
from edgecnn.quantize.pipeline import Quantized, Quantizer
from edgecnn.quantize.recipes import LADDERS
from edgecnn.quantize.sensitivity import LayerSensitivity, scan
from edgecnn.registry import suggest
from edgecnn.runtime import labels
from edgecnn.runtime.images import Preprocessing
from edgecnn.targets import Target, target

#: Least agreement of the prepared graph with the file that was given, in decibels.
_MIN_PREPARED_DB = 60.0
#: Below this a float16 file is not written.
_MIN_HALF_DB = 25.0
#: Images that the layers' sensitivity is measured on.
_SCAN_IMAGES = 16
_MAKERS = ("onnx", "onnxsim", "onnxruntime", "numpy")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class QuantizeRequest:
    """What is asked. Raises InvalidValueError or UnknownNameError for values that cannot work."""

    source: Path
    output: Path
    target: str = "portable"
    #: "int8" or "float16".
    precision: str = "int8"
    effort: str = "default"
    budget: Budget = field(default_factory=Budget)
    ranges: str = "mse"
    #: Folder of images; None for the built-in ones. Some calibrate, others check.
    calib: Path | None = None
    calib_images: int = 128
    check_images: int = 64
    #: Labelled images for `Budget.max_drop`: a folder of class folders, or "digits".
    data: str | None = None
    #: From an image to the input; None for what the file's manifest says, else ImageNet's.
    preprocessing: Preprocessing | None = None
    #: Side of the input in pixels, for a file that leaves it open.
    size: int | None = None
    #: Whether each layer's sensitivity is measured.
    sensitivity: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for what, value, known in (
            ("precision", self.precision, ("int8", "float16")),
            ("effort", self.effort, tuple(LADDERS)),
            ("range method", self.ranges, tuple(ranges.METHODS)),
        ):
            if value not in known:
                raise InvalidValueError(f"unknown {what} {value!r}", hint=suggest(value, list(known)))
        if self.calib_images < 1 or self.check_images < 2:
            raise InvalidValueError(
                f"{self.calib_images} images to calibrate and {self.check_images} to check are too few",
                hint="at least 1 and 2",
            )
        if (self.budget.max_drop is None) != (self.data is None):
            raise InvalidValueError(
                "--max-drop and --data belong together", hint="--max-drop 1 --data FOLDER_OF_CLASS_FOLDERS"
            )
        target(self.target)

    @property
    def resolved_target(self) -> Target:
        """Row of the table of targets."""
        return target(self.target)


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

    @property
    def met(self) -> bool | None:
        """Whether the budget was met; None if there was none."""
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


def quantize_file(request: QuantizeRequest, progress: Progress = lambda step: None) -> Written:
    """Quantize an ONNX file; the result is written whole or not at all.

    Of a budget that cannot be met the best result is written, and says so in its manifest; the caller
    sees it in `met`. Raises a subclass of EdgecnnError that says what was wrong.
    """
    start = time.perf_counter()
    files.check_writable(request.output)
    progress("prepare")
    known = read_manifest(request.source)
    original = prepare.load(request.source)
    model = prepare.prepare(original, request.size)
    notes: list[str] = []
    preprocessing = _preprocessing(request, known, model, notes)
    images = ImageSource.open(
        preprocessing,
        calib=request.calib,
        count=request.calib_images,
        checks=request.check_images,
        batch=model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or None,
        digits=known is not None and known.labels == "digits",
        seed=request.seed,
    )
    checks = preprocessing.normalize(images.check_frames())
    reference = logits(model, checks)
    if request.size is None:
        # The graph was rewritten: before anything else, it must still be the network that was given.
        given = logits(opset.upgrade(original), checks[:8])
        demand(compare(given, reference[:8], "the prepared graph"), _MIN_PREPARED_DB, "the prepared graph")
    manifest = known or _manifest_of(model, preprocessing)
    outcome, sensitivity = None, None
    quantization: dict[str, Any] | None = None
    parameters: dict[str, Any]
    if request.precision == "int8":
        outcome, sensitivity = _int8(request, model, images, checks, reference, manifest, progress)
        model = outcome.quantized.model
        if request.resolved_target.backend == "tensorrt":
            model = islands.with_float16(model, outcome.picked)
        quantization = {**outcome.quantized.to_json(), **outcome.to_json(request.budget)}
        parameters = {"recipe": outcome.quantized.recipe.name, "effort": request.effort}
    else:
        progress("float16")
        reduced = float16.to_float16(model, float16.extremes(model, images.calibration()))
        model = reduced.model
        parameters = {"kept": reduced.kept}
        notes += reduced.notes()
    progress("check")
    onnx.checker.check_model(model, full_check=True)
    what = f"the {request.precision} model"
    parity = compare(reference, logits(model, checks), what)
    if request.precision == "float16":
        demand(parity, _MIN_HALF_DB, what)
    step = Step(
        "quantize" if request.precision == "int8" else "float16",
        {**parameters, "target": request.target, "images": images.description, **images.tally.to_json()},
        request.seed,
        files.sha256(request.source),
        round(time.perf_counter() - start, 3),
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
    return _write(request.output, model, manifest, parity, start, notes, outcome, sensitivity)


def requantize_file(
    source: Path, output: Path, target_name: str, progress: Progress = lambda step: None
) -> Written:
    """Write an int8 file of ours for another target, from the ranges that it carries; needs no images."""
    start = time.perf_counter()
    files.check_writable(output)
    goal = target(target_name)
    progress("requantize")
    known = read_manifest(source)
    if known is None or not known.quantization:
        raise ArtifactError(
            f"{source} is no int8 file of edgecnn: it carries no ranges",
            hint="give the file that edgecnn quantize or edgecnn export --int8 wrote",
        )
    model, quantization = requantize.requantize(prepare.load(source), known.quantization, goal.scheme)
    onnx.checker.check_model(model, full_check=True)
    step = Step("requantize", {"from": known.target, "target": target_name}, parent=files.sha256(source))
    manifest = replace(known, target=target_name, quantization=quantization, lineage=(*known.lineage, step))
    note = "nothing was measured: no images were given; edgecnn eval or profile can tell how good it is"
    return _write(output, model, manifest, None, start, [note], None, None)


def _int8(
    request: QuantizeRequest,
    model: onnx.ModelProto,
    images: ImageSource,
    checks: np.ndarray,
    reference: np.ndarray,
    manifest: Manifest,
    progress: Progress,
) -> tuple[Outcome, list[LayerSensitivity] | None]:
    labelled = _Labelled.open(request, images.preprocessing, manifest, model) if request.data else None
    quantizer = Quantizer(model, images.calibration, request.resolved_target.scheme, request.ranges, progress)

    def judge(candidate: onnx.ModelProto) -> Verdict:
        parity = compare(reference, logits(candidate, checks), "the int8 model")
        return Verdict(parity, labelled.drop(candidate) if labelled else None)

    def ranked(quantized: Quantized) -> list[LayerSensitivity]:
        return scan(quantized, quantizer.macs, checks[:_SCAN_IMAGES], progress)

    outcome = escalate(quantizer, judge, ranked, request.effort, request.budget, progress)
    return outcome, ranked(outcome.quantized) if request.sensitivity else None


class _Labelled:
    """Top-1 accuracy of models on labelled images, against the float model's."""

    def __init__(self, inputs: np.ndarray, classes: np.ndarray, model: onnx.ModelProto) -> None:
        self._inputs, self._classes = inputs, classes
        self._float = self._top1(model)

    @classmethod
    def open(
        cls,
        request: QuantizeRequest,
        preprocessing: Preprocessing,
        manifest: Manifest,
        model: onnx.ModelProto,
    ) -> _Labelled:
        count = logits(model, np.zeros(_input_shape(model), np.float32)).shape[1]
        names = list(labels.names(manifest.labels, count)) if manifest.labels else None
        found = folder.labelled(str(request.data), count, names)
        if not found.images:
            raise DataError(f"{request.data} holds no images", hint="expected: FOLDER/CLASS/image.jpg")
        return cls(preprocessing.batch(found.images), np.array(found.labels), model)

    def _top1(self, model: onnx.ModelProto) -> float:
        return float(np.mean(logits(model, self._inputs).argmax(axis=1) == self._classes))

    def drop(self, model: onnx.ModelProto) -> float:
        """Return the loss of top-1 in points."""
        return 100 * (self._float - self._top1(model))


def _input_shape(model: onnx.ModelProto) -> list[int]:
    return [dim.dim_value or 1 for dim in model.graph.input[0].type.tensor_type.shape.dim]


def _preprocessing(
    request: QuantizeRequest, known: Manifest | None, model: onnx.ModelProto, notes: list[str]
) -> Preprocessing:
    """Return how images become inputs, fitted to the input's shape."""
    _, channels, height, width = _input_shape(model)
    if height != width:
        raise ArtifactError(
            f"{request.source} takes {height} x {width} pixels", hint="only square inputs can be prepared yet"
        )
    if request.preprocessing is not None:
        chosen = request.preprocessing
    elif known is not None and known.preprocessing:
        chosen = Preprocessing.from_json(known.preprocessing)
    else:
        notes.append(
            "the file does not say how its images are prepared: ImageNet's mean and deviation were used"
            " (--mean and --std say otherwise)"
        )
        chosen = Preprocessing()
    return chosen.at(height).with_channels(channels)


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
