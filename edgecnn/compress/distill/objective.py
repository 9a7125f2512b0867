"""What a student minimises: distance to the teacher's answers, to its features, and to the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.compress.distill import feature_points
from edgecnn.compress.distill.teacher import Teacher, Translation, with_features
from edgecnn.compress.losses import cross_entropy
from edgecnn.errors import InvalidValueError
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.zoo.network_outputs import named

#: Which features are transferred.


def soft_targets(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 KL(teacher || student) of logits softened by T (Hinton 2015, section 2)."""
    wanted = F.log_softmax(teacher.float() / temperature, dim=1)
    given = F.log_softmax(student.float() / temperature, dim=1)
    return temperature**2 * F.kl_div(given, wanted, log_target=True, reduction="batchmean")


def attention(features: Tensor) -> Tensor:
    """Return the mean square over the channels, (N, H * W), of length one (Zagoruyko 2017)."""
    return F.normalize(features.float().square().mean(1).flatten(1), dim=1)


def raw_distance(student: Any, teacher: Any, temperature: float) -> Tensor:
    """Return the mean square between raw outputs, in units of the teacher's variance, over the outputs.

    The temperature says nothing here. Raises InvalidValueError for outputs of other names or shapes.
    """
    given, wanted = (named(item[0] if isinstance(item, tuple) else item) for item in (student, teacher))
    shapes = [{name: tuple(item.shape[1:]) for name, item in of.items()} for of in (given, wanted)]
    if shapes[0] != shapes[1]:
        raise InvalidValueError(
            f"the teacher gives {shapes[1]}, and the student {shapes[0]}",
            hint="a teacher with the same head, at the same resolution",
        )
    distances = [
        (given[name].float() - item.float()).square().mean() / item.float().var().clamp_min(1e-12)
        for name, item in wanted.items()
    ]
    return torch.stack(distances).mean()


class Distillation(nn.Module):
    """Weighted sum of soft targets, features and labels.

    `weight` is the share of the soft targets, the rest is the labels'. Of "hint" features (Romero 2015)
    a linear map of the student's is compared with the teacher's, in units of the teacher's mean square;
    of "attention" features the squared distance of the attention maps.
    """

    def __init__(
        self,
        student: nn.Module,
        preprocessing: Preprocessing,
        teacher: Teacher,
        *,
        temperature: float,
        weight: float,
        features: str = "none",
        feature_weight: float,
        answers: Callable[[Any, Any, float], Tensor] = lambda given, wanted, temperature: soft_targets(
            given[0] if isinstance(given, tuple) else given, wanted, temperature
        ),
        labels: Callable[[Any, Any], Tensor] = cross_entropy,
    ) -> None:
        super().__init__()
        self._answers, self._labels = answers, labels
        self.temperature, self.weight = temperature, weight
        self.features, self.feature_weight = features, feature_weight
        self._translate = Translation(preprocessing, teacher.preprocessing)
        # In a list, so that its weights are neither trained nor saved with this module's.
        self._teacher = [teacher]
        self._student_points: list[str] = []
        self._teacher_points: list[str] = []
        self.regressors = nn.ModuleList()
        if features != "none":
            self._pair(
                feature_points.of_module(student, preprocessing.channels, preprocessing.size), teacher.points
            )

    def _pair(self, student: feature_points.Points, teacher: feature_points.Points) -> None:
        for stride in sorted(student.keys() & teacher.keys()):
            (mine, channels), (theirs, wanted) = student[stride], teacher[stride]
            self._student_points.append(mine)
            self._teacher_points.append(theirs)
            if self.features == "hint":
                self.regressors.append(nn.Conv2d(channels, wanted, 1))
        if not self._student_points:
            raise InvalidValueError(
                "student and teacher have no features of the same stride to compare", hint="`features` none"
            )

    def forward(self, network: nn.Module, images: Tensor, targets: Any) -> Tensor:
        """Return the mean loss of images, (N, C, H, W), with target distributions, (N, classes).

        Images without a label have targets of zero. Of a head the targets are what its loss takes.
        """
        outputs, mine = with_features(network, images, self._student_points)
        with torch.no_grad():
            wanted, theirs = self._teacher[0](self._translate(images), self._teacher_points)
        loss = self.weight * self._answers(outputs, wanted, self.temperature)
        if self.weight < 1:
            loss = loss + (1 - self.weight) * self._labels(outputs, targets)
        if mine:
            loss = loss + self.feature_weight * self._feature_loss(mine, theirs)
        return loss

    def _feature_loss(self, mine: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
        losses = []
        for index, (given, wanted) in enumerate(zip(mine, theirs, strict=True)):
            if wanted.shape[2:] != given.shape[2:]:
                wanted = F.interpolate(wanted, given.shape[2:], mode="bilinear", antialias=True)
            if self.features == "hint":
                difference = self.regressors[index](given) - wanted
                losses.append(difference.square().mean() / (wanted.square().mean() + 1e-12))
            else:
                losses.append((attention(given) - attention(wanted)).square().sum(1).mean())
        return torch.stack(losses).mean()
