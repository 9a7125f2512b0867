"""From a network by name, or a checkpoint, to a pruned checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgecnn import files, targets
from edgecnn.artifact import Manifest, Step
from edgecnn.compress.input_batch import InputBatch
from edgecnn.compress.prune.goal import Goal, LatencyGoal
from edgecnn.compress.prune.network_timing import Timer, Timing
from edgecnn.compress.prune.prune_network import Finetune, Pruned, prune
from edgecnn.compress.prune.prune_request import PruneRequest
from edgecnn.compress.prune.prune_result import PrunedFile
from edgecnn.compress.prune.prune_to_latency import Attempt, prune_to_latency
from edgecnn.compress.prune.sparsity import SparsityMask
from edgecnn.compress.train.lesson import Lesson, lesson_of
from edgecnn.compress.train.run_report import Report
from edgecnn.compress.train.train_network import finetune, training_preprocessing
from edgecnn.data import trained_on
from edgecnn.data.builtin import stream
from edgecnn.data.dataset import DataSet
from edgecnn.data.loader import Loader
from edgecnn.data.trained_on import open_for
from edgecnn.errors import DataError
from edgecnn.progress import Progress, silent
from edgecnn.runtime import prepare
from edgecnn.zoo import checkpoint, cost, reparameterize
from edgecnn.zoo.open_network import bare, open_network
from edgecnn.zoo.structure import differences

#: Training images that judge channels and recalibrate batch normalization.
_IMAGES = 512
#: Built-in images that calibrate an int8 network for timing.
_TIMING_IMAGES = 8
#: A pruned network that takes a larger share of the latency than this is said to gain nothing.
_NO_GAIN = 0.97


def prune_file(
    request: PruneRequest,
    progress: Progress = silent,
    report: Callable[[Report], None] = lambda report: None,
) -> PrunedFile:
    """Prune a network and write it, whole or not at all; a latency goal that is missed is written and said.

    `report` is told how fine-tuning goes. With data, the test images measure the network before and after.
    Raises PruningError if it cannot be done, and what opening networks and data raises.
    """
    files.check_writable(request.output)
    job = _Job(request, progress, report)
    accuracy_before = job.accuracy_before()
    before = cost.count(job.network, job.example.shape[1], job.spec.size)
    timing: Timing | None = None
    attempts: tuple[Attempt, ...] = ()
    met, notes = True, list(job.notes)
    if isinstance(request.goal, LatencyGoal):
        found = prune_to_latency(job.prune, job.timer, request.goal, progress)
        pruned, timing, attempts, met = found.pruned, found.timing, found.attempts, found.met
        network, accuracy = pruned.network, pruned.accuracy
        if not met:
            notes.append(
                f"the last measurement gave {timing.ratio:.2f}x the latency ({timing.milliseconds:.3g} ms),"
                f" where {request.goal} was asked for"
            )
    elif request.goal is not None:
        pruned = job.prune(request.goal, True)
        network, accuracy = pruned.network, pruned.accuracy
        if request.measure:
            with job.timer() as measure:
                timing = measure(network)
    else:
        network, accuracy, dense = job.sparse()
        notes += [f"{len(dense)} layers stay dense: {', '.join(dense)}"] if dense else []
    if accuracy is None and accuracy_before is not None:
        accuracy = job.accuracy(network)
    if timing is not None and timing.ratio > _NO_GAIN:
        notes.append(
            f"NOT FASTER HERE: the pruned network takes {timing.ratio:.2f}x the latency"
            f" ({timing.milliseconds:.3g} ms of {timing.reference:.3g} ms)"
        )
    if job.origin == "random":
        notes.append("RANDOM WEIGHTS: good for timing; which channels went means nothing")
    after = cost.count(network, job.example.shape[1], job.spec.size)
    manifest = job.manifest(network, timing, attempts, accuracy)
    progress("write")
    sha256 = checkpoint.save(request.output, network, manifest)
    return PrunedFile(
        request.output,
        sha256,
        manifest,
        before,
        after,
        timing,
        attempts,
        met,
        accuracy,
        accuracy_before,
        job.figure,
        notes,
        network,
    )


class _Job:
    """The network, the data and the tools of one request."""

    def __init__(self, request: PruneRequest, progress: Progress, report: Callable[[Report], None]) -> None:
        self._request, self._progress, self._report = request, progress, report
        seed = request.network.seed
        self._dataset: DataSet | None = None
        if request.data is not None:
            progress("open the data")
            share = request.options.validation if request.training else 0.0
            self._dataset = open_for(
                [request.network.manifest],
                request.data,
                task=request.network.architecture.task,
                seed=seed,
                validation=share,
            )
        self.spec = request.network
        if self._dataset is not None:
            self.spec = replace(self.spec, num_classes=self._dataset.classes)
            if self.spec.origin != "random" and self.spec.has_new_classifier and not request.epochs:
                raise DataError(
                    f"{self.spec.name} has other classes than {request.data}, and nothing would train the"
                    " new classifier",
                    hint="fine-tune with `epochs`, or give the data that it was trained with",
                )
        progress("open the network")
        self._opened = open_network(self.spec)
        self.network = self._opened.network
        self.notes = [*self._opened.notes, *(self._dataset.notes if self._dataset else ())]
        preprocessing = self.spec.preprocessing
        if self._dataset is not None:
            preprocessing = training_preprocessing(self.spec, self._dataset)
        self._preprocessing = preprocessing
        self.example = torch.zeros(1, preprocessing.channels, *preprocessing.size)
        self.origin = self._opened.origin
        self._outputs = cost.trial(self.network, preprocessing.channels, preprocessing.size).outputs
        self._lesson: Lesson | None = None
        if self._dataset is not None:
            smoothing = request.options.label_smoothing
            self._lesson = lesson_of(
                self.spec, self.network, self._outputs, self._dataset, smoothing=smoothing
            )

    @property
    def figure(self) -> str:
        """What the accuracy is."""
        return (self._lesson.figure if self._lesson else None) or "top1"

    def accuracy_before(self) -> float | None:
        """Return the figure of the network given; None where it never learned the classes of the data."""
        if self._dataset is None or self.origin == "random" or self.spec.has_new_classifier:
            return None
        self._progress("accuracy before")
        return self.accuracy(self.network)

    def accuracy(self, network: nn.Module) -> float | None:
        """Return the figure of a network on the test images; None of one that gives its own losses."""
        assert self._dataset is not None and self._lesson is not None
        batch = self._request.options.batch
        test = Loader(self._dataset.test, self._preprocessing, batch, shuffle=False, drop_last=False)
        return self._lesson.measure(network, test).figure

    def prune(self, goal: Goal, tune: bool) -> Pruned:
        """Prune the network, with fine-tuning if that is wanted and asked for."""
        request = self._request
        tuned = self._finetune() if tune else None
        return prune(
            self.network,
            self.example,
            goal=goal,
            importance=request.judged_by,
            spread=request.spread,
            align=request.alignment,
            batches=self._batches if self._dataset is not None else None,
            loss=self._lesson.loss if self._lesson is not None else None,
            rounds=request.rounds if tuned else 1,
            finetune=tuned,
            seed=self.spec.seed,
            progress=self._progress,
        )

    def sparse(self) -> tuple[nn.Module, float | None, dict[str, str]]:
        """Return the network with 2:4 sparse weights, its accuracy, and the layers that stay dense."""
        mask = SparsityMask.by_magnitude(self.network)
        tuned = self._finetune()
        if tuned is None:
            return self.network, None, mask.dense
        with mask.kept():
            return self.network, tuned(self.network), mask.dense

    def timer(self) -> Timer:
        """Return what measures a network next to the one that was given."""
        request = self._request
        scheme = targets.target(request.target).scheme if request.target else None
        digits = self.spec.labels == "digits"
        frames = stream(
            self._preprocessing, _TIMING_IMAGES, check=False, digit_images=digits, seed=self.spec.seed
        )
        return Timer(
            self.network,
            self.example,
            scheme=scheme,
            images=prepare.normalize(self._preprocessing, np.stack(list(frames))),
            seconds=request.seconds,
            threads=request.threads,
            progress=self._progress,
            outputs=tuple(self._outputs),
            fold=self.spec.in_catalogue,
        )

    def manifest(
        self,
        network: nn.Module,
        timing: Timing | None,
        attempts: tuple[Attempt, ...],
        accuracy: float | None,
    ) -> Manifest:
        """Return what is known of the pruned network, with how it differs from its architecture's."""
        request, spec, reference = self._request, self.spec, bare(self.spec)
        if reparameterize.is_folded(network.state_dict()):
            reparameterize.fold(reference)
        parameters: dict[str, Any] = {
            "asked": request.to_json(),
            "goal": "2:4 sparsity" if request.sparsity else str(request.goal),
            **({} if request.sparsity else self._asked()),
            "attempts": [attempt.to_json() for attempt in attempts],
            "structure": differences(network, reference),
        }
        if self._dataset is not None:
            parameters |= trained_on.describe(self._dataset, self._opened.lineage)
        if request.training is not None:
            parameters["fine-tuning"] = request.training.to_json()
        # A latency that chose nothing is reported, and kept out of the file: the same bytes come back.
        metrics = timing.to_json() if timing and isinstance(request.goal, LatencyGoal) else {}
        if accuracy is not None and self._dataset is not None:
            metrics |= {self.figure: accuracy, "n": len(self._dataset.test), "data": self._dataset.name}
        step = Step("prune", parameters, spec.seed, spec.sha256, metrics)
        tuned = self._dataset if request.epochs else None
        return checkpoint.describe(
            spec,
            network,
            (*self._opened.lineage, step),
            preprocessing=self._preprocessing,
            labels=tuned.labels if tuned else spec.labels,
            weights=tuned.name if tuned else self.origin,
        )

    def _asked(self) -> dict[str, Any]:
        request = self._request
        return {
            "importance": request.judged_by,
            "spread": request.spread,
            "align": request.alignment,
            "rounds": request.rounds,
            "target": request.target,
        }

    def _finetune(self) -> Finetune | None:
        options, dataset = self._request.training, self._dataset
        if options is None or dataset is None:
            return None
        assert self._lesson is not None
        lesson = self._lesson
        return lambda network: finetune(network, self.spec, dataset, options, self._report, lesson=lesson)

    def _batches(self) -> Iterator[tuple[Tensor, Any]]:
        assert self._dataset is not None and self._lesson is not None
        size = min(64, len(self._dataset.train))
        loader = Loader(self._dataset.train, self._preprocessing, size, seed=self.spec.seed)
        to_input = InputBatch(self._preprocessing)
        for number, (frames, labels) in enumerate(loader.epoch(0)):
            if number * size >= _IMAGES:
                break
            yield to_input(frames), self._lesson.labels(labels)
