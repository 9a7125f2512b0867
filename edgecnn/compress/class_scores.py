"""Whether a network gives scores of classes, which labels can train and accuracy can be said of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.compress.losses import has_losses, measuring, own_loss
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.zoo.network_outputs import named


def gives_scores(outputs: Mapping[str, Tensor], classes: int) -> bool:
    """Return whether outputs, by name, are one row of a score for each class."""
    values = list(outputs.values())
    return len(values) == 1 and tuple(values[0].shape[1:]) == (classes,)


def scores(outputs: Any) -> Tensor:
    """Return the class scores, (N, classes), of a network that has one output."""
    return outputs if isinstance(outputs, Tensor) else next(iter(named(outputs).values()))


def class_loss(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Return cross entropy, or the network's own loss, measured as the network is used."""
    if has_losses(network):
        with measuring(network):
            return own_loss(network, images, classes)
    return F.cross_entropy(scores(network(images)), classes)


def demand_trainable(
    network: nn.Module, outputs: Mapping[str, Tensor], name: str, data: str, classes: int
) -> None:
    """Raise what keeps the labels of a data set from training a network: DataError or InvalidValueError."""
    if has_losses(network) or gives_scores(outputs, classes):
        return
    if len(outputs) > 1 or next(iter(outputs.values())).ndim != 2:
        given = ", ".join(f"{key} {tuple(values.shape[1:])}" for key, values in outputs.items())
        raise InvalidValueError(
            f"{name} gives no scores of classes that labels could train, but {given}",
            hint="let its forward take (images, labels) and give its losses in training: docs/own-network.md",
        )
    (values,) = outputs.values()
    raise DataError(
        f"{name} gives {values.shape[1]} values for an image, and {data} has {classes} classes",
        hint="a parameter num_classes of its function is told the number",
    )
