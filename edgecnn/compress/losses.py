"""What training minimises. An objective maps (network, images, targets) to a loss.

A network gives class scores, or its own losses: where its forward takes labels beside the images, it is
called with both in training, and what it gives then is a loss, or several by name that are added.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgecnn.errors import CodeError

#: What a forward calls the labels that it takes, in the place after the images.
_LABELS = ("labels", "label", "targets", "target", "y")
#: Weight of each auxiliary classifier's loss (Szegedy 2015, section 5).
AUXILIARY_WEIGHT = 0.3

#: Layers that work otherwise in training than when a network is used, and which a measurement keeps as used.
_MEASURED = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
)


def one_hot(labels: Tensor, classes: int, smoothing: float = 0.0) -> Tensor:
    """Return labels, (N,) integers, as target distributions, (N, classes) float32.

    `smoothing` is spread evenly over all classes (Szegedy 2016, section 7). Images whose label is -1, for
    there is none, get a target of zero everywhere, which costs nothing whatever the answer.
    """
    targets = torch.full((len(labels), classes), smoothing / classes, device=labels.device)
    targets.scatter_(1, labels.clamp(min=0)[:, None], 1 - smoothing + smoothing / classes)
    return targets * (labels >= 0)[:, None]


def cross_entropy(outputs: Tensor | tuple[Tensor | None, ...], targets: Tensor) -> Tensor:
    """Return the mean cross entropy to target distributions; of (logits, auxiliary, ...) a weighted sum."""
    logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
    assert logits is not None
    loss = F.cross_entropy(logits.float(), targets)
    for other in auxiliary:
        if other is not None:
            loss = loss + AUXILIARY_WEIGHT * F.cross_entropy(other.float(), targets)
    return loss


def has_losses(network: nn.Module) -> bool:
    """Return whether a network gives its own losses in training: its forward takes labels too."""
    parameters = list(inspect.signature(network.forward).parameters.values())
    return len(parameters) > 1 and parameters[1].name in _LABELS


def own_loss(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sum of what a network in training gives for images, (N, C, H, W), and labels, (N,).

    Raises CodeError for anything but single numbers.
    """
    given = network(images, labels)
    losses = given.values() if isinstance(given, Mapping) else given if _several(given) else [given]
    for loss in losses:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise CodeError(
                f"{type(network).__name__} takes labels, and gives no loss in training: {what}",
                hint="it gives one number or a dict of them; or takes images alone, and gives class scores",
            )
    return torch.stack([loss.float().reshape(()) for loss in losses]).sum()


def _several(given: Any) -> bool:
    return isinstance(given, (list, tuple)) and len(given) > 0


@contextlib.contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Let a network give its losses as it is: in training mode, but for normalizations and dropout."""
    before = {module: module.training for module in network.modules()}
    for module in before:
        module.training = not isinstance(module, _MEASURED)
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


class Supervised(nn.Module):
    """Cross entropy to the labels, or the network's own losses."""

    def forward(self, network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of images, (N, C, H, W), with target distributions, (N, classes)."""
        if has_losses(network):
            return own_loss(network, images, targets.argmax(1))
        return cross_entropy(network(images), targets)
