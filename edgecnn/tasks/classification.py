"""Classification: an image is of one of several classes, or on one side of a threshold.

What an output decides its shape tells:

- class scores: a row of two or more values for each image, (images, classes). The decision is the largest.
- a score: one value for each image. The decision is the side of a threshold that it lies on: of 0, or of 0.5
  where the network ends in a sigmoid.
- values: anything else, such as a map beside the scores. Nothing is decided.

Sizes of 1 at a shape's end do not count: (images, classes, 1, 1) are class scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.errors import ArtifactError
from edgecnn.parity import MIN_SPREAD, Output
from edgecnn.tasks.decoders import NetworkEnd
from edgecnn.tasks.metric import Metric
from edgecnn.tasks.task import VALUES, Names, Task
from edgecnn.tasks.view import View

#: What an output is.
CLASS_SCORES, SCORE = "class scores", "score"

#: Classes of an answer, where nobody says how many.
_USUAL = 5


@dataclass(frozen=True)
class Prediction:
    """One class of one image."""

    index: int
    label: str
    probability: float


class Classification(Task):
    """Which class an image is of."""

    name = "classification"
    title = "Classification"

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether an output is class scores or a score."""
        return any(_kind(spec) != VALUES for spec in end.outputs)

    def kind(self, output: Output) -> str:
        """CLASS_SCORES, SCORE or VALUES."""
        return _kind(output.spec)

    def decisions(self, output: Output) -> npt.NDArray[np.int64] | None:
        """Return the class, or the side of the threshold, of each image, (images,); None for values."""
        kind = self.kind(output)
        if kind == VALUES:
            return None
        rows = output.values.reshape(len(output.values), -1)
        if kind == CLASS_SCORES:
            return np.asarray(rows.argmax(axis=1), np.int64)
        return (rows[:, 0] > output.threshold).astype(np.int64)

    def proves(self, decisions: npt.NDArray[np.int64], output: Output) -> bool:
        """Return whether keeping decisions says something: not for a score that lies on one side alone."""
        return self.kind(output) == CLASS_SCORES or len(np.unique(decisions)) > 1

    def varies(self, output: Output) -> bool:
        """Return whether an output depends on the image; of class scores, whether their differences do."""
        if not super().varies(output):
            return False
        if self.kind(output) != CLASS_SCORES:
            return True
        values = output.values.reshape(len(output.values), -1)
        middle = values.mean(axis=1, keepdims=True, dtype=np.float64)
        size = np.sqrt(np.mean(np.square(values, dtype=np.float64)))
        return bool(np.sqrt(np.mean(np.var(values - middle, axis=0))) / size > MIN_SPREAD)

    def answers_classes(self, outputs: Sequence[TensorSpec]) -> bool:
        """Return whether there are class scores, or may be: some files do not declare their shapes."""
        return any(_kind(spec) == CLASS_SCORES or not spec.shape for spec in outputs)

    def classes(self, outputs: Sequence[TensorSpec]) -> int:
        """Return the number of class scores of an image."""
        scores = next((spec for spec in outputs if _kind(spec) == CLASS_SCORES), None)
        sizes = [] if scores is None else scores.shape[1:]
        return math.prod(size for size in sizes if isinstance(size, int)) if _known(sizes) else 0

    def class_scores(self, outputs: Sequence[Output]) -> npt.NDArray[np.float32] | None:
        """Return the first output that is class scores, (images, classes) float32."""
        scores = next((item for item in outputs if self.kind(item) == CLASS_SCORES), None)
        if scores is None:
            return None
        return scores.values.reshape(len(scores.values), -1).astype(np.float32, copy=False)

    @property
    def metric(self) -> Metric:
        """Top-1 accuracy, in points."""
        return _Top1(self)

    def demand_answers(self, outputs: Sequence[TensorSpec], name: str) -> None:
        """Raise ArtifactError for a network whose outputs are known to be no class scores."""
        if self.answers_classes(outputs):
            return
        raise no_scores(outputs, name)

    def answers(
        self, outputs: Sequence[Output], names: Names, top: int | None, views: Sequence[View] | None = None
    ) -> list[list[Prediction]]:
        """Return the `top` most probable classes of each image, best first."""
        scores = self.class_scores(outputs)
        if scores is None:
            raise ArtifactError("the network gives no class scores", hint="engine.run gives its outputs")
        probabilities = softmax(scores)
        labels = names(probabilities.shape[1])
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(1, _USUAL if top is None else top)]
        return [
            [Prediction(int(index), labels[index], float(row[index])) for index in order]
            for row, order in zip(probabilities, best, strict=True)
        ]

    def lines(self, answer: list[Prediction]) -> list[str]:
        """Return a line for each class."""
        return [f"{item.probability:6.1%}  {item.label} ({item.index})" for item in answer]

    def to_json(self, answer: list[Prediction]) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": [vars(item) for item in answer]}


class _Top1(Metric):
    """Share of the images whose class is the largest score, in points."""

    name = "top1"
    unit = "points of top-1"

    def __init__(self, task: Classification) -> None:
        self._task = task

    def part(self, outputs: Sequence[Output], labels: Any, views: Sequence[View] | None) -> tuple[int, int]:
        """Return how many images are right, and how many there are."""
        scores = self._task.deciding(outputs)
        if scores is None:
            raise ValueError("what decided once goes on doing so")
        right = np.equal(np.asarray(self._task.decisions(scores)), labels)
        return int(right.sum()), len(right)

    def figure(self, parts: Sequence[tuple[int, int]]) -> float:
        """Return the share of those that are right."""
        return 100 * sum(right for right, _ in parts) / sum(count for _, count in parts)


def no_scores(outputs: Sequence[TensorSpec], name: str) -> ArtifactError:
    """Return what is to be said where class scores are needed, of a file called `name` that gives none."""
    shapes = ", ".join(f"{' x '.join(map(str, spec.shape))} {spec.dtype}" for spec in outputs)
    return ArtifactError(
        f"{name} is no image classifier: its output is {shapes}",
        hint="a row of two or more class scores for each image is expected; engine.run gives the output",
    )


def _known(sizes: Sequence[int | str]) -> bool:
    return bool(sizes) and all(isinstance(size, int) for size in sizes)


def _kind(spec: TensorSpec) -> str:
    """Return what an output is by its shape; integers are indices of something, and no scores."""
    if not spec.dtype.startswith(("float", "bfloat")):
        return VALUES
    sizes = list(spec.shape[1:])
    while sizes and sizes[-1] == 1:
        sizes.pop()
    return VALUES if len(sizes) > 1 else CLASS_SCORES if sizes else SCORE


def softmax(logits: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return probabilities over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
