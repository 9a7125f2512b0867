"""From a trained checkpoint to an int8 file that was trained with its rounding in place."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from edgecnn.artifact import Manifest, Step
from edgecnn.compress.qat.by_float_network import ByFloatNetwork, by_name, deciding_output
from edgecnn.compress.qat.measure_trained import measure
from edgecnn.compress.qat.qat_request import QatRequest
from edgecnn.compress.qat.quantized_network import QuantizedModule
from edgecnn.compress.train import log
from edgecnn.compress.train.lesson import ClassLesson
from edgecnn.compress.train.resume_state import state_path
from edgecnn.compress.train.run_report import Report
from edgecnn.compress.train.train_network import Trained, check_outputs, describe_run, loaders, trained_before
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.training_loop import Stage, Task, fit, make_accelerator
from edgecnn.data import trained_on
from edgecnn.data.dataset import DataSet
from edgecnn.data.loader import Loader
from edgecnn.data.trained_on import open_for
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.export import ExportRequest, export
from edgecnn.leftovers import TemporaryFolder
from edgecnn.progress import Progress, silent
from edgecnn.quantize import accuracy_floor
from edgecnn.quantize.effort_levels import FITTED
from edgecnn.quantize.escalate import TRAINING, Outcome, Verdict
from edgecnn.quantize.graph.index import input_specs
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.quantize_file import Trainer
from edgecnn.quantize.quantized import Quantized
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.quantize.reduce_precision import Reduction, check, reduce_precision
from edgecnn.quantize.reference import Network
from edgecnn.quantize.write_file import write_model
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.samples import of_images
from edgecnn.targets import target
from edgecnn.zoo.spec import NetworkSpec

#: AdamW's rate for weights: with batch normalization folded, a hundredth of what trained the network.
LEARNING_RATE = 1e-4
#: Training images that the ranges come from.
CALIBRATION_IMAGES = 128
#: The file should answer as the trained network on this share of the images.
LEAST_AGREEMENT = 0.995


def train_quantized(
    request: QatRequest,
    report: Callable[[Report], None] = lambda report: None,
    progress: Progress = silent,
) -> Trained:
    """Export, quantize, train and write an int8 file, whole or not at all.

    Raises DataError for data of other classes than the network's, and what exporting, quantizing and
    training raise.
    """
    start = time.perf_counter()
    spec, options = request.network, request.options
    check_outputs(request.output, request.log, request.plot)
    assert request.data is not None
    dataset = open_for([spec.manifest], request.data, seed=options.seed, validation=options.validation)
    _check_classes(spec, dataset)
    chosen = ChosenNodes(request.exclude, request.only)
    identity = describe_run(spec, dataset, options, {"target": request.target, **chosen.to_json()})
    if before := trained_before(request, identity):
        return before
    model, exported = _float_model(spec, progress)
    _check_outputs(spec, exported, dataset)
    training = _Training(request, model, dataset, identity, report, progress)
    how = Reduction("int8", target(request.target), accepted=request.force, chosen=chosen)
    batches = partial(calibration, dataset, spec.preprocessing, options)
    parent = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    reduced = reduce_precision(model, how, batches, training, progress)
    why = accuracy_floor.causes((spec.preprocessing, "the network"), dataset.name, CALIBRATION_IMAGES)
    checked = check(reduced, training.verdict, why)
    manifest = replace(
        exported,
        precision="int8",
        target=request.target,
        quantization=checked.quantization,
        lineage=(*exported.lineage, *training.steps(parent, exported.lineage)),
    )
    written = write_model(request.output, reduced.model, manifest)
    if request.plot:
        log.plot(request.plot, training.history, training.title)
    state_path(request.output).unlink(missing_ok=True)
    seconds = time.perf_counter() - start
    return Trained(request.output, written.sha256, manifest, training.history, training.notes(), seconds)


def _float_model(spec: NetworkSpec, progress: Progress) -> tuple[onnx.ModelProto, Manifest]:
    """Return the network as a float graph, and what is known of it."""
    with TemporaryFolder() as folder:
        exported = export(ExportRequest(spec, Path(folder) / "float.onnx"), progress)
        model = onnx.load(exported.path)
    del model.metadata_props[:]
    return model, exported.manifest


class _Training:
    """Chooses the fitted int8 form for `reduce_precision`, trains it and tests it, which gives `verdict`."""

    verdict: Verdict

    def __init__(
        self,
        request: QatRequest,
        model: onnx.ModelProto,
        dataset: DataSet,
        identity: dict[str, Any],
        report: Callable[[Report], None],
        progress: Progress,
    ) -> None:
        self._request, self._model, self._dataset = request, model, dataset
        self._identity, self._report, self._progress = identity, report, progress
        self.title = f"{request.network.architecture.name} int8 on {dataset.name}"
        self.history: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {}
        self._scheme = target(request.target).scheme
        self._skipped: list[str] = []
        self._deciding: str | None = None

    def __call__(self, quantizer: Quantizer) -> Outcome:
        request, preprocessing = self._request, self._request.network.preprocessing
        untrained = quantizer(FITTED)
        with log.kept(request.log, request.plot, self.title) as keep_log:
            run = _train(
                untrained, self._model, self._dataset, preprocessing, request.options, self._report,
                state_path(request.output), self._identity, keep_log,
            )  # fmt: skip
        self.history, self._deciding = run.history, run.deciding
        self._progress("check")
        _, _, test = loaders(self._dataset, preprocessing, request.options)
        self.metrics, parity = measure(
            self._model, untrained, run.quantized, run.module, test, run.deciding, {}
        )
        self._skipped = [str(item) for item in test.skipped]
        drop = None if run.deciding is None else 100 * (self.metrics["float_top1"] - self.metrics["top1"])
        self.verdict = Verdict(parity, drop)
        return Outcome(run.quantized, self.verdict)

    def steps(self, parent: str, before: Sequence[Step]) -> tuple[Step, Step]:
        """Return what the lineage says was done to a float graph with the hash `parent`."""
        seed, dataset = self._request.options.seed, self._dataset
        described = {**self._identity, **trained_on.describe(dataset, before), "images": len(dataset.train)}
        metrics = {**self.metrics, "parity": self.verdict.parity.to_json()}
        return (
            Step("quantize", {"scheme": self._scheme.name, "recipe": FITTED.name}, seed, parent),
            Step(TRAINING, described, seed, None, metrics),
        )

    def notes(self) -> list[str]:
        """Return what a reader should know of the run."""
        notes = [*self._dataset.notes, *self._skipped]
        if self._deciding is None:
            return [*notes, *self._notes_without_scores()]
        agreement, top1, untrained = (
            self.metrics[key] for key in ("simulation_agreement", "top1", "untrained_top1")
        )
        if agreement < LEAST_AGREEMENT:
            notes.append(f"the file answers as the trained network on only {agreement:.2%} of the images")
        if top1 < untrained:
            notes.append(
                f"training did not help: without it int8 reaches {untrained:.2%} (edgecnn export --int8)"
            )
        return notes

    def _notes_without_scores(self) -> list[str]:
        notes = [
            f"no output is a row of scores of the {self._dataset.classes} classes: int8 has learned from the"
            " float network's outputs alone, not from the labels"
        ]
        untrained = self.metrics["untrained_sqnr_db"]
        if untrained is None or self.verdict.parity.sqnr_db < untrained:
            notes.append("training did not help: without it int8 is nearer to float (edgecnn export --int8)")
        return notes


def trainer(
    dataset: DataSet, options: TrainOptions, report: Callable[[Report], None] = lambda report: None
) -> Trainer:
    """Return what trains an int8 form of a float model, for the last step of an escalation.

    It raises DataError if a model's one output is scores of other classes than the data's.
    """

    def of(
        model: onnx.ModelProto, preprocessing: Preprocessing, constants: Mapping[str, Sequence[float]]
    ) -> Callable[[Quantized], Quantized]:
        image = np.zeros((1, preprocessing.channels, *preprocessing.size), np.float32)
        outputs = Network(model)(of_images(image, input_specs(model), constants))
        classes = outputs[0].values.shape[1:]
        if len(outputs) == 1 and len(classes) == 1 and classes != (dataset.classes,):
            raise DataError(
                f"{dataset.name} has {dataset.classes} classes, the network has {classes[0]}",
                hint="train with the data that the network was trained with",
            )

        def trained(quantized: Quantized) -> Quantized:
            return _train(
                quantized, model, dataset, preprocessing, options, report, None, {}, constants=constants
            ).quantized

        return trained

    return of


def calibration(
    dataset: DataSet, preprocessing: Preprocessing, options: TrainOptions
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield training images that ranges are taken from, (N, C, H, W), the same at each call."""
    loader = Loader(dataset.train, preprocessing, min(16, len(dataset.train)), seed=options.seed)
    batches = itertools.islice(loader.epoch(0), CALIBRATION_IMAGES // 16)
    return (prepare.normalize(preprocessing, frames) for frames, _ in batches)


@dataclass(frozen=True)
class _Run:
    """What came of training: an int8 model, the network that was trained, and its log."""

    quantized: Quantized
    module: QuantizedModule
    history: list[dict[str, Any]]
    #: See `deciding_output`.
    deciding: str | None


def _train(
    quantized: Quantized,
    model: onnx.ModelProto,
    dataset: DataSet,
    preprocessing: Preprocessing,
    options: TrainOptions,
    report: Callable[[Report], None],
    state_file: Path | None,
    identity: dict[str, Any],
    keep_log: Callable[[log.Rows], None] = lambda rows: None,
    constants: Mapping[str, Sequence[float]] = {},
) -> _Run:
    module = QuantizedModule(quantized, constants)
    with torch.inference_mode():
        outputs = module(torch.zeros(1, preprocessing.channels, *preprocessing.size))
    deciding = deciding_output(outputs, dataset.classes)
    images, validation, _ = loaders(dataset, preprocessing, options)
    stage = Stage(TRAINING, options.epochs, LEARNING_RATE if options.lr is None else options.lr)
    lesson = ClassLesson(
        dataset.classes, options.label_smoothing, scores=lambda outputs: by_name(outputs)[str(deciding)]
    )
    task = Task(
        module, ByFloatNetwork(model, constants, deciding), images,
        validation if deciding is not None else None,  # else the loss of training is all that there is
        lesson, options, (stage,), state_file, identity, keep_log,
    )  # fmt: skip
    history = fit(task, make_accelerator(options), report)
    return _Run(module.to_quantized(), module, history, deciding)


def _check_classes(spec: NetworkSpec, dataset: DataSet) -> None:
    """Raise what is known before the network is opened: what code gives is not."""
    known = spec.classes or dataset.classes
    if known != dataset.classes or (spec.labels is not None and spec.labels != dataset.labels):
        raise DataError(
            f"{spec.name} was not trained on the classes of {dataset.name}",
            hint=f"edgecnn train {spec.name} --data {dataset.name}, then --qat with what that writes",
        )


def _check_outputs(spec: NetworkSpec, exported: Manifest, dataset: DataSet) -> None:
    """Raise what keeps a network that gave this from being trained in int8."""
    if exported.weights == "random":
        raise InvalidValueError(f"{spec.name} has random weights", hint="train it first, without `qat`")
    first, *others = (item.shape for item in exported.outputs)
    if not others and len(first) == 2 and first[1] != dataset.classes:
        raise DataError(
            f"{spec.name} gives {first[1]} values for an image, {dataset.name} has {dataset.classes} classes",
            hint="train it with this data first, without `qat`",
        )
