"""How the labels of a task teach a network, and what is measured of it while it is a PyTorch network."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.artifact import TensorSpec
from edgecnn.compress import class_scores
from edgecnn.compress.class_scores import class_loss, demand_trainable, gives_scores
from edgecnn.compress.heads.detectors import detector_loss
from edgecnn.compress.heads.pixels import PixelLoss
from edgecnn.compress.input_batch import InputBatch, to_device
from edgecnn.compress.losses import Supervised, has_losses, one_hot
from edgecnn.compress.train.network_accuracy import evaluate, evaluating
from edgecnn.data.dataset import DataSet
from edgecnn.data.loader import Loader
from edgecnn.optional_packages import require
from edgecnn.parity import Output
from edgecnn.tasks import NetworkEnd, Task, task_of
from edgecnn.zoo import network_outputs
from edgecnn.zoo.decoder import decoder, task
from edgecnn.zoo.network_outputs import named
from edgecnn.zoo.spec import NetworkSpec


@dataclass(frozen=True)
class Measured:
    """What labelled images say of a network."""

    #: By the metric's name; none of a network that gives losses of its own.
    figures: Mapping[str, float]
    loss: float
    #: Images.
    count: int
    #: Further figures of the metric.
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def figure(self) -> float | None:
        """The figure that counts; None where there is none."""
        return next(iter(self.figures.values()), None)

    def to_json(self) -> dict[str, Any]:
        """Return what a lineage keeps."""
        return {**self.figures, **self.details, "loss": self.loss, "n": self.count}


class Lesson(abc.ABC):
    """What a training run asks of the task of its network."""

    #: Whether the labels of two images can be mixed.
    mixes: bool

    @property
    @abc.abstractmethod
    def figure(self) -> str | None:
        """What is measured: the metric's name; None for nothing but the loss."""

    @abc.abstractmethod
    def labels(self, labels: Any) -> Any:
        """Return the labels of a batch, as the loader gives them, as `loss` takes them."""

    @abc.abstractmethod
    def loss(self, network: nn.Module, images: Tensor, labels: Any) -> Tensor:
        """Return the loss of a network as it is used."""

    @abc.abstractmethod
    def targets(self, labels: Any, device: torch.device) -> Any:
        """Return the labels of a batch, as the loader gives them, as the objective takes them."""

    @abc.abstractmethod
    def objective(self) -> nn.Module:
        """Return the module that maps (network, images, targets) to a loss."""

    @abc.abstractmethod
    def measure(self, network: nn.Module, loader: Loader, accelerator: Any = None) -> Measured:
        """Measure a network on a loader's images; it stays on the device where it is."""


@dataclass(frozen=True)
class ClassLesson(Lesson):
    """Labels are classes: cross entropy and top-1, or the network's own losses."""

    classes: int
    smoothing: float = 0.0
    #: Whether the network gives class scores, of which accuracy is measured.
    classifies: bool = True
    #: Whether targets may be distributions: a network that gives its own losses takes indices.
    mixes: bool = True
    #: From what the network gives to its class scores, (N, classes).
    scores: Callable[[Any], Tensor] = class_scores.scores

    @property
    def figure(self) -> str | None:
        """Top-1, of a network that gives scores."""
        return "top1" if self.classifies else None

    def labels(self, labels: Any) -> Tensor:
        """Return classes, (N,) int64."""
        return torch.from_numpy(labels)

    def loss(self, network: nn.Module, images: Tensor, labels: Any) -> Tensor:
        """Return cross entropy, or the network's own loss."""
        return class_loss(network, images, labels)

    def targets(self, labels: Any, device: torch.device) -> Tensor:
        """Return classes, (N,) int64, as target distributions, (N, classes)."""
        return one_hot(to_device(labels, device), self.classes, self.smoothing)

    def objective(self) -> nn.Module:
        """Return cross entropy, or what the network gives itself."""
        return Supervised()

    def measure(self, network: nn.Module, loader: Loader, accelerator: Any = None) -> Measured:
        """Measure top-1 and the loss."""
        top1, loss, count = evaluate(
            network, loader, accelerator, classifies=self.classifies, scores=self.scores
        )
        return Measured({} if top1 is None else {"top1": top1}, loss, count)


class HeadObjective(nn.Module):
    """The loss of what a head gives."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, network: nn.Module, images: Tensor, targets: Any) -> Tensor:
        """Return the mean loss of images, (N, C, H, W), with what is labelled in them."""
        loss: Tensor = self.loss(network(images), targets)
        return loss


class HeadLesson(Lesson):
    """Labels are boxes or masks in the input: a head's own loss, and the metric of its task."""

    mixes = False

    def __init__(self, loss: Any, row: Task, names: Sequence[str]) -> None:
        assert row.metric is not None
        self._loss, self._metric, self._names = loss, row.metric, names

    @property
    def figure(self) -> str | None:
        """The metric of the task."""
        return self._metric.name

    def labels(self, labels: Any) -> Any:
        """Return boxes or masks as tensors."""
        return self.targets(labels, torch.device("cpu"))

    def loss(self, network: nn.Module, images: Tensor, labels: Any) -> Tensor:
        """Return the loss of the head."""
        found: Tensor = self._loss(network(images), labels)
        return found

    def targets(self, labels: Any, device: torch.device) -> Any:
        """Return boxes or masks on the device."""
        return self._loss.targets(labels, device)

    def objective(self) -> nn.Module:
        """Return the loss of the head."""
        return HeadObjective(self._loss)

    def measure(self, network: nn.Module, loader: Loader, accelerator: Any = None) -> Measured:
        """Measure the task's metric in pixels of the input, and the loss."""
        parts, sums = [], torch.zeros(2, dtype=torch.float64)
        rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
        with evaluating(network, accelerator) as device:
            loss, to_input = self._loss.to(device), InputBatch(loader.preprocessing, device)
            for frames, labels in loader.epoch(0, rank=rank, world=world):
                given = network(to_input(frames))
                value = loss(given, self.targets(labels, device))
                sums += torch.tensor([float(value) * len(labels), len(labels)], dtype=torch.float64)
                outputs = [Output(name, item.float().cpu().numpy()) for name, item in named(given).items()]
                parts.append(self._metric.part(outputs, labels, None))
        if world > 1:
            parts = require("accelerate.utils", "training on several processes").gather_object(parts)
            sums = accelerator.reduce(sums.to(accelerator.device)).cpu()
        total, count = sums.tolist()
        figures = {self._metric.name: self._metric.figure(parts)}
        found = self._metric.details(parts, self._names)
        details = {
            name: float(value)
            for name, value in (found.figures.items() if found else ())
            if value is not None and name not in figures
        }
        return Measured(figures, total / max(1, count), int(count), details)


def lesson_of(
    spec: NetworkSpec,
    network: nn.Module,
    outputs: Mapping[str, Tensor],
    dataset: DataSet,
    *,
    smoothing: float = 0.0,
) -> Lesson:
    """Return the lesson of a network with these outputs on a data set.

    Raises DataError or InvalidValueError for a network that its labels cannot train.
    """
    name = task(spec)
    if name is None:
        demand_trainable(network, outputs, spec.name, dataset.name, dataset.classes)
        classifies = gives_scores(outputs, dataset.classes)
        return ClassLesson(dataset.classes, smoothing, classifies, mixes=not has_losses(network))
    settings = decoder(spec, network)
    loss = PixelLoss() if settings is None else detector_loss(settings, spec.size)
    row = task_of(name, NetworkEnd(_specs(outputs), spec.size), settings)
    return HeadLesson(loss, row, dataset.class_names)


def _specs(outputs: Mapping[str, Tensor]) -> list[TensorSpec]:
    return [
        network_outputs.spec(name, ("batch", *item.shape[1:]), item.dtype) for name, item in outputs.items()
    ]
