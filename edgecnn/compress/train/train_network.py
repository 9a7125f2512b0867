"""From a network and a data set to a checkpoint: fine-tuning where weights exist, else from scratch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from edgecnn import figure, files
from edgecnn.artifact import Manifest, Step, read_manifest
from edgecnn.compress.train import log
from edgecnn.compress.train.lesson import Lesson, lesson_of
from edgecnn.compress.train.resume_state import check_resumable, state_path
from edgecnn.compress.train.run_report import Report
from edgecnn.compress.train.stages_of_run import stages_of
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.train_request import TrainingRun, TrainRequest
from edgecnn.compress.train.training_loop import Stage, Task, fit, make_accelerator
from edgecnn.data import trained_on
from edgecnn.data.augmentations import augmentation
from edgecnn.data.dataset import DataSet
from edgecnn.data.loader import Loader
from edgecnn.data.trained_on import open_for
from edgecnn.errors import InvalidValueError
from edgecnn.record import Record
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo import checkpoint, cost
from edgecnn.zoo.open_network import Opened, open_network
from edgecnn.zoo.spec import NetworkSpec


class Goal(Protocol):
    """What is learned from: the labels, or something else beside them or instead."""

    @property
    def what(self) -> str:
        """What the lineage calls it."""
        ...

    def dataset(self, name: str | None, options: TrainOptions, student: NetworkSpec) -> DataSet:
        """Return the images, split as the lineage of the student says; those without a class have -1."""
        ...

    def objective(
        self, student: nn.Module, preprocessing: Preprocessing, dataset: DataSet, lesson: Lesson
    ) -> nn.Module:
        """Return the module that maps (network, images, targets) to a loss."""
        ...

    def to_json(self) -> Mapping[str, Any]:
        """Return what the lineage records, and what tells one run from another."""
        ...


@dataclass(frozen=True)
class Labels:
    """Learning from the labels alone."""

    what: str = "train"

    def dataset(self, name: str | None, options: TrainOptions, student: NetworkSpec) -> DataSet:
        """Return the data set of a name. Raises DataError for one that is labelled for another task."""
        if name is None:
            raise InvalidValueError("there is nothing to learn from", hint="give `data`")
        return open_for(
            [student.manifest],
            name,
            task=student.architecture.task,
            seed=options.seed,
            validation=options.validation,
        )

    def objective(
        self, student: nn.Module, preprocessing: Preprocessing, dataset: DataSet, lesson: Lesson
    ) -> nn.Module:
        """Return what the labels are for."""
        return lesson.objective()

    def to_json(self) -> Mapping[str, Any]:
        """Return nothing more to say."""
        return {}


@dataclass(frozen=True)
class Trained(Record):
    """A checkpoint or an int8 file that was written, or, of `done_before`, found."""

    path: Path
    sha256: str
    manifest: Manifest
    #: A row for each epoch.
    history: list[dict[str, Any]]
    notes: list[str]
    seconds: float
    done_before: bool = False
    #: The network itself; None where it was trained before.
    network: nn.Module | None = field(default=None, repr=False, compare=False)

    @property
    def met(self) -> bool | None:
        """False for an int8 network below the floor that was not accepted; else None: nothing was asked."""
        floor = (self.manifest.quantization or {}).get("floor")
        return False if floor and not floor.get("accepted") else None

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        manifest = self.manifest
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "bytes": self.path.stat().st_size,
            "architecture": manifest.architecture,
            "alpha": manifest.alpha,
            "resolution": manifest.resolution,
            "params": manifest.params,
            "macs": manifest.macs,
            "precision": manifest.precision,
            "target": manifest.target,
            **manifest.lineage[-1].metrics,
            "history": self.history,
            "seconds": round(self.seconds, 3),
            "done_before": self.done_before,
            "notes": self.notes,
        }


def train(
    request: TrainRequest,
    report: Callable[[Report], None] = lambda report: None,
    goal: Goal | None = None,
) -> Trained:
    """Train a network and write it as a checkpoint, whole or not at all; without a `goal`, from the labels.

    Every process of a distributed run calls this; the first writes. Raises DataError, WeightsError,
    InvalidValueError, TrainingError or OutputError.
    """
    start = time.perf_counter()
    options, goal = request.options, goal or Labels()
    check_outputs(request.output, request.log, request.plot)
    dataset = goal.dataset(request.data, options, request.network)
    spec = replace(request.network, num_classes=dataset.classes)
    identity = describe_run(request.network, dataset, options, goal.to_json())
    if before := trained_before(request, identity):
        return before
    opened = open_network(spec)
    preprocessing = training_preprocessing(spec, dataset)
    # An input of a size that the network cannot take fails here, and a network that labels cannot train.
    tried = cost.trial(opened.network, preprocessing.channels, preprocessing.size)
    lesson = lesson_of(spec, opened.network, tried.outputs, dataset, smoothing=options.label_smoothing)
    if not lesson.mixes and (options.mixup or options.cutmix):
        raise InvalidValueError(
            f"{spec.name} gives its own losses, for labels that cannot be mixed",
            hint="leave out `mixup` and `cutmix`",
        )
    train_images, validation, test = loaders(dataset, preprocessing, options)
    stages = stages_of(spec, opened, options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)  # of what the objective itself learns
        objective = goal.objective(opened.network, preprocessing, dataset, lesson)
    accelerator = make_accelerator(options)
    title = f"{spec.architecture.name} on {dataset.name}"
    task = Task(
        opened.network, objective, train_images, validation, lesson, options, stages,
        state_path(request.output), identity,
    )  # fmt: skip
    with log.kept(request.log, request.plot, title) as keep_log:
        history = fit(replace(task, keep_log=keep_log), accelerator, report)
    metrics = {**lesson.measure(opened.network, test, accelerator).to_json(), "data": dataset.name}
    manifest = _manifest(goal, spec, opened, dataset, preprocessing, task, metrics)
    if accelerator.is_main_process:
        checkpoint.save(request.output, opened.network, manifest)
        if request.plot:
            log.plot(request.plot, history, title)
        state_path(request.output).unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    notes = [*opened.notes, *dataset.notes, *map(str, [*train_images.skipped, *test.skipped])]
    sha256 = files.sha256(request.output)
    seconds = time.perf_counter() - start
    return Trained(request.output, sha256, manifest, history, notes, seconds, network=opened.network)


def _manifest(
    goal: Goal,
    spec: NetworkSpec,
    opened: Opened,
    dataset: DataSet,
    preprocessing: Preprocessing,
    task: Task,
    metrics: Mapping[str, Any],
) -> Manifest:
    """Return what is known of a network that was trained."""
    parameters = {
        **(task.identity or {}),
        **trained_on.describe(dataset, opened.lineage),
        "images": len(dataset.train),
        "classes": dataset.classes,
        "stages": [stage.name for stage in task.stages],
    }
    step = Step(goal.what, parameters, task.options.seed, spec.sha256, metrics)
    return checkpoint.describe(
        spec,
        opened.network,
        (*opened.lineage, step),
        preprocessing=preprocessing,
        labels=dataset.labels,
        weights=dataset.name,
    )


def finetune(
    network: nn.Module,
    spec: NetworkSpec,
    dataset: DataSet,
    options: TrainOptions,
    report: Callable[[Report], None] = lambda report: None,
    *,
    lesson: Lesson,
) -> float | None:
    """Train all of a network, in place, at the rate for fine-tuning; return the figure of the test images.

    There is none of a network that gives its own losses.
    """
    preprocessing = training_preprocessing(spec, dataset)
    train_images, validation, test = loaders(dataset, preprocessing, options)
    stage = Stage("fine-tune", options.epochs, options.learning_rate(fine_tuning=True))
    task = Task(
        network, lesson.objective(), train_images, validation, lesson, options, (stage,)
    )  # fmt: skip
    accelerator = make_accelerator(options)
    fit(task, accelerator, report)
    return lesson.measure(network, test, accelerator).figure


def training_preprocessing(spec: NetworkSpec, dataset: DataSet) -> Preprocessing:
    """Return how images become inputs. Sets of small pictures, which are centred already, are not cropped."""
    # Of the training images some may be others, without labels.
    if spec.is_checkpoint or not isinstance(dataset.test.images, np.ndarray):
        return spec.preprocessing
    return replace(spec.preprocessing, crop=1.0)


def loaders(
    dataset: DataSet, preprocessing: Preprocessing, options: TrainOptions
) -> tuple[Loader, Loader | None, Loader]:
    """Return the loaders of the images that train, validate (None if there are none) and test.

    Raises InvalidValueError if there are fewer training images than a batch holds.
    """
    if len(dataset.train) < options.batch:
        raise InvalidValueError(
            f"{dataset.name} has {len(dataset.train)} images to train with, fewer than a batch of"
            f" {options.batch}",
            hint=f"`batch` {max(1, len(dataset.train) // 4)}" if len(dataset.train) else "give more images",
        )
    train = Loader(
        dataset.train,
        preprocessing,
        options.batch,
        augmentation=augmentation(options.augmentation),
        seed=options.seed,
        workers=options.workers,
    )
    validation, test = (
        Loader(part, preprocessing, options.batch, shuffle=False, drop_last=False, workers=options.workers)
        for part in (dataset.validation, dataset.test)
    )
    return train, validation if len(dataset.validation) else None, test


def check_outputs(output: Path, log_file: Path | None, plot: Path | None) -> None:
    """Raise what writing the files of a run would raise, before any work."""
    files.check_writable(output)
    if log_file:
        log.check(log_file)
    if plot:
        figure.check(plot)


def describe_run(
    spec: NetworkSpec, dataset: DataSet, options: TrainOptions, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what tells one run from another; what was asked, as JSON."""
    scratch = [spec.architecture.name, spec.alpha, spec.phi, spec.in_channels, spec.origin, spec.seed]
    if spec.backbone is not None:
        scratch.append(spec.backbone)
    return {
        "network": spec.sha256 or [*scratch, *spec.code_identity],
        "resolution": spec.size.said,
        "data": dataset.name,
        "data_sha256": dataset.sha256,
        "split_seed": dataset.split_seed,
        **more,
        **{key: value for key, value in options.to_json().items() if key != "workers"},
    }


def trained_before(request: TrainingRun, run: Mapping[str, Any]) -> Trained | None:
    """Return what the same run, `describe_run`, has written before; None where it is to be trained.

    Raises InvalidValueError where a run was cut off that nobody asked to resume.
    """
    state_file = state_path(request.output)
    if request.resume and not state_file.exists() and (found := _done_before(request.output, run)):
        return Trained(request.output, files.sha256(request.output), found, [], [], 0.0, done_before=True)
    check_resumable(state_file, resume=request.resume)
    return None


def _done_before(path: Path, run: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest of the result of the same run if it is there already."""
    manifest = read_manifest(path) if path.exists() else None
    if manifest is None or not manifest.lineage:
        return None
    parameters = manifest.lineage[-1].parameters
    return manifest if all(parameters.get(key) == value for key, value in run.items()) else None
