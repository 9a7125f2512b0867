"""Accuracy on labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import files
from edgecnn.data.folder import LabelledImages, TrainingImages
from edgecnn.data.frame_cache import FrameCache
from edgecnn.data.unreadable import Skipped
from edgecnn.data.views import Views
from edgecnn.errors import EngineError, InvalidValueError
from edgecnn.measure.accuracy.agreement import Agreement, agree
from edgecnn.measure.accuracy.averaged_outputs import of_views
from edgecnn.measure.accuracy.confidence_interval import wilson
from edgecnn.measure.accuracy.engine_outputs import of_images
from edgecnn.measure.accuracy.measured_outputs import Figure, parity_of
from edgecnn.measure.accuracy.reliability import Bin, calibration_error, confidence_and_loss, reliability
from edgecnn.measure.conditions.record_conditions import Watch
from edgecnn.operating_system import cores
from edgecnn.parity import Output
from edgecnn.progress import Progress, silent
from edgecnn.runtime import labels as label_sets
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.sample_axis import BATCH
from edgecnn.tasks.classification import no_scores
from edgecnn.tasks.metric import Metric


@dataclass(frozen=True, eq=False)
class Accuracy:
    """What a network answers to labelled images, and what can be counted in its answers."""

    path: Path
    data: str
    #: (N, classes) float32, of the images that could be read.
    logits: npt.NDArray[np.float32]
    #: True class of each, (N,) int64.
    labels: npt.NDArray[np.int64]
    #: One for each class.
    names: Sequence[str]
    skipped: tuple[Skipped, ...]
    #: Of the whole, decoding included.
    seconds: float
    conditions: dict[str, Any]
    agreement: Agreement | None = None
    training: TrainingImages = field(default_factory=TrainingImages)
    #: What was left out of the data, each in a sentence.
    notes: tuple[str, ...] = ()
    #: A metric of the user's.
    metric: Figure | None = None

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def top1(self) -> float:
        """Share of images whose true class is the most probable one."""
        return self._among(1) / self.n

    @property
    def top5(self) -> float:
        """Share of images whose true class is among the five most probable."""
        return self._among(5) / self.n

    @property
    def top1_interval(self) -> tuple[float, float]:
        """95 % interval of top-1 (Wilson)."""
        return wilson(self._among(1), self.n)

    @property
    def top5_interval(self) -> tuple[float, float]:
        """95 % interval of top-5 (Wilson)."""
        return wilson(self._among(5), self.n)

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Images by true class (row) and answer (column), (classes, classes)."""
        classes = self.logits.shape[1]
        pairs = self.labels * classes + self.logits.argmax(axis=1)
        return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)

    @property
    def worst_classes(self) -> list[int]:
        """The classes that have images, lowest accuracy first; of equal ones the one with more images."""
        counts, right = self.confusion.sum(axis=1), self.confusion.diagonal()
        present = np.flatnonzero(counts)
        return [int(index) for index in sorted(present, key=lambda i: (right[i] / counts[i], -counts[i]))]

    @cached_property
    def reliability(self) -> tuple[Bin, ...]:
        """Accuracy by confidence."""
        return reliability(self._confidence_and_loss[0], self._ranks == 0)

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1."""
        return calibration_error(self.reliability)

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood of the true class, in nats."""
        return float(self._confidence_and_loss[1].mean())

    @cached_property
    def _confidence_and_loss(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        return confidence_and_loss(self.logits, self.labels)

    @cached_property
    def _ranks(self) -> npt.NDArray[np.int64]:
        """How many classes come before the true one; of equal logits the first class does."""
        own = np.take_along_axis(self.logits, self.labels[:, None], axis=1)
        earlier = np.arange(self.logits.shape[1]) < self.labels[:, None]
        return ((self.logits > own) | ((self.logits == own) & earlier)).sum(axis=1)

    def _among(self, k: int) -> int:
        return int((self._ranks < k).sum())

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses, and what was counted."""
        counts, right = self.confusion.sum(axis=1), self.confusion.diagonal()
        mistakes = np.argwhere(self.confusion * ~np.eye(len(counts), dtype=bool))
        return {
            "path": str(self.path),
            "sha256": files.sha256(self.path),
            "data": self.data,
            "top1": self.top1,
            "top5": self.top5,
            "top1_interval": list(self.top1_interval),
            "top5_interval": list(self.top5_interval),
            "nll": self.nll,
            "ece": self.ece,
            "reliability": [dataclasses.asdict(item) for item in self.reliability],
            "per_class": [
                {"class": index, "name": self.names[index], "n": int(counts[index]), "right": int(hits)}
                for index, hits in enumerate(right)
            ],
            "mistakes": [
                {"label": int(label), "answer": int(answer), "n": int(self.confusion[label, answer])}
                for label, answer in mistakes
            ],
            "agreement": self.agreement.to_json(self.names) if self.agreement else None,
            "metric": dataclasses.asdict(self.metric) if self.metric else None,
            "skipped": [dataclasses.asdict(item) for item in self.skipped],
            "training_images": self.training.to_json(),
            "notes": list(self.notes),
            "n": self.n,
            "seconds": self.seconds,
            "throughput_ips": self.n / self.seconds,
            "conditions": self.conditions,
        }


def evaluate(
    engine: Engine,
    dataset: LabelledImages,
    *,
    reference: Engine | None = None,
    metric: Metric | None = None,
    views: Views = Views(),  # noqa: B008 - it is frozen
    ensemble: Sequence[Engine] = (),
    batch: int = BATCH,
    workers: int | None = None,
    cache: FrameCache | None = None,
    progress: Progress = silent,
    constants: Mapping[str, Sequence[float]] | None = None,
) -> Accuracy:
    """Run every image through the engine's own preprocessing, and through that of `reference` too.

    An image is decoded once for both, or read from `cache`, which keeps what is decoded. `workers` threads
    (the processor's cores) each decode and infer batches of their own; see `sweep`. `batch` is the engines'
    own where that is fixed. Class probabilities are averaged over `views` of each image, and over the engine
    and its `ensemble`.

    Images that cannot be read are left out and listed. Raises DataError if they are too many,
    ArtifactError for a network that gives no class scores, InvalidValueError if the reference has other
    classes, EngineError for logits that are not finite,
    ParityError if the reference's hardly depend on the image.
    """
    engines = [engine, *([reference] if reference is not None else [])]
    _demand_same_question([*engines, *ensemble])
    size, workers = batch_for([*engines, *ensemble], batch), workers or len(cores())
    how: dict[str, Any] = {"batch": size, "workers": workers, "progress": progress, "constants": constants}
    with Watch() as watch:
        if views.is_plain and not ensemble:
            given = of_images(engines, dataset.images, cache=cache, **how)
        else:
            groups = [[engine, *ensemble], *([item] for item in engines[1:])]
            given = of_views(groups, dataset.images, views, **how)
    conditions = {
        **watch.conditions(engine, size).to_json(),
        "input": dataset.name,
        "decoding": "included" if cache is None else f"of {cache.decoded} images included",
        "workers": workers,
        "views": views.count,
        "ensemble": [files.sha256(item.path) for item in ensemble],
    }
    logits = [_scores(item, outputs) for item, outputs in zip(engines, given.outputs, strict=True)]
    labels = dataset.labels_of(given.rows)
    agreement = None
    if reference is not None:
        parity = parity_of(engines, given.outputs)
        agreement = agree(reference.path, parity, logits[0], logits[1], labels, dataset.images, given.rows)
    return Accuracy(
        engine.path,
        dataset.name,
        logits[0],
        labels,
        label_sets.names(engine.manifest.labels if engine.manifest else None, logits[0].shape[1]),
        given.skipped,
        given.seconds,
        conditions,
        agreement,
        dataset.training,
        dataset.notes,
        None
        if metric is None
        else Figure.of(metric, [[metric.part(item, labels, None)] for item in given.outputs]),
    )


def batch_for(engines: Sequence[Engine], batch: int) -> int:
    """Return how many images the engines get at a time: their own number where that is fixed."""
    fixed = [least for engine in engines if (least := engine.batches[0]) == engine.batches[1]]
    return max(fixed, default=batch)


def _demand_same_question(engines: Sequence[Engine]) -> None:
    """Raise ArtifactError or InvalidValueError where engines give no scores, or of other classes."""
    for item in engines:
        if not item.task.answers_classes(item.outputs):
            raise no_scores(item.outputs, item.path.name)
    first, *others = engines
    for reference in others:
        if reference.classes != first.classes:
            raise InvalidValueError(
                f"{first.path.name} has {first.classes} classes, {reference.path.name} {reference.classes}",
                hint="a reference answers the same question: the file that this one was made from",
            )


def _scores(engine: Engine, outputs: Sequence[Output]) -> npt.NDArray[np.float32]:
    """Return the class scores, (N, classes); raises EngineError for values that are not finite."""
    scores = engine.task.class_scores(outputs)
    if scores is None:
        raise no_scores(engine.outputs, engine.path.name)
    return _finite(engine, scores)


def _finite(engine: Engine, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    broken = int((~np.isfinite(logits).all(axis=1)).sum())
    if broken:
        raise EngineError(
            f"{engine.path.name} gives logits that are not finite for {broken} of {len(logits)} images",
            hint="a value left its number format's range",
        )
    return logits
