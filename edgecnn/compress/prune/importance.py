"""How much each channel matters: the lowest go first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgecnn.compress.class_scores import class_loss
from edgecnn.compress.prune.channel_groups import Groups
from edgecnn.compress.prune.prune_request import IMPORTANCES
from edgecnn.errors import InvalidValueError, PruningError
from edgecnn.registry import suggest

Scores = npt.NDArray[np.float64]
#: Images (N, C, H, W) and what they are labelled with: classes (N,), or what the loss takes.
Batches = Iterable[tuple[Tensor, Any]]
#: From a network in use, images and labels to a loss.
Loss = Callable[[nn.Module, Tensor, Any], Tensor]


def scores(
    network: nn.Module,
    groups: Groups,
    importance: str,
    batches: Batches | None = None,
    seed: int = 0,
    loss: Loss | None = None,
) -> Scores:
    """Return the importance of each label, relative to the mean of its group; NaN where nothing can be said.

    A label's score is the mean over all weights that write or read its channels (the group importance of
    Fang et al. 2023, arXiv:2301.12900, section 3.3), of:

    - "magnitude": the squared L2 norm of the channel's weights.
    - "bn": the scale of batch normalization (Liu et al. 2017, Network Slimming, arXiv:1708.06519). Channels
      without one have no score. Raises PruningError for a network without batch normalization.
    - "taylor": the squared change of the loss that the first order predicts for leaving out each weight,
      averaged over `batches` (Molchanov et al. 2019, arXiv:1906.10771, section 3.1); unless given, the
      loss is cross-entropy, or the network's own. Raises InvalidValueError without batches.
    - "fpgm": a filter's distance to all others of its layer (He et al. 2019, arXiv:1811.00250): what lies in
      the middle can be replaced by the others.
    - "random": a number drawn by `seed`; what any other has to beat.

    Raises UnknownNameError for any other importance.
    """
    if importance not in IMPORTANCES:
        raise InvalidValueError(
            f"there is no importance {importance!r}", hint=suggest(importance, list(IMPORTANCES))
        )
    if importance == "random":
        return np.asarray(np.random.default_rng(seed).random(groups.labels))
    if importance == "taylor":
        if batches is None:
            raise InvalidValueError("the importance taylor needs labelled images", hint="give a data set")
        saliency = _taylor(network, batches, loss or class_loss)
    else:
        saliency = {name: item.detach().square() for name, item in _weights(network)}
    if importance == "bn":
        norms = {f"{n}.weight" for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
        saliency = {name: saliency[name].sqrt() for name in norms & saliency.keys()}
        if not saliency:
            raise PruningError(
                "the importance bn needs batch normalization, which this network does not have",
                hint="take the importance magnitude",
            )
    by_axis = _distances if importance == "fpgm" else _sums
    return _relative(_collected(groups, network, saliency, by_axis), groups)


def _weights(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return the weights of layers; biases and embeddings say little of a channel."""
    return [(name, item) for name, item in network.named_parameters() if name.endswith("weight")]


def _taylor(network: nn.Module, batches: Batches, loss: Loss) -> dict[str, Tensor]:
    weights = dict(_weights(network))
    total = {name: torch.zeros_like(item) for name, item in weights.items()}
    training = network.training
    network.eval()
    for images, labels in batches:
        gradients = torch.autograd.grad(
            loss(network, images, labels), list(weights.values()), allow_unused=True
        )
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            if gradient is not None:
                total[name] += (weight.detach() * gradient).square()
    network.train(training)
    return total


def _sums(saliency: Tensor, _: Tensor, axis: int) -> Tensor | None:
    return saliency.movedim(axis, 0).reshape(saliency.shape[axis], -1).sum(1)


def _distances(_: Tensor, weight: Tensor, axis: int) -> Tensor | None:
    if axis or weight.ndim == 1:
        return None
    filters = weight.detach().flatten(1)
    return torch.cdist(filters, filters).sum(1)


def _collected(
    groups: Groups,
    network: nn.Module,
    saliency: dict[str, Tensor],
    by_axis: Callable[[Tensor, Tensor, int], Tensor | None],
) -> Scores:
    """Return for each label the mean over all axes that have it of the sum over its positions there."""
    weights: dict[str, Tensor] = dict(network.named_parameters())
    total, members = np.zeros(groups.labels), np.zeros(groups.labels)
    for (name, axis), labels in groups.axes.items():
        if name not in saliency:
            continue
        seen, weight = saliency[name], weights[name]
        if name in groups.transposed:  # as those of other layers, filter by filter
            seen, weight, axis = seen.transpose(0, 1), weight.transpose(0, 1), 1 - axis
        if (values := by_axis(seen, weight, axis)) is not None:
            np.add.at(total, labels, values.double().cpu().numpy())
            members[np.unique(labels)] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / members)


def _relative(absolute: Scores, groups: Groups) -> Scores:
    found = absolute.copy()
    for group in groups.groups:
        values = absolute[group.labels]
        mean = values.mean()
        found[group.labels] = values / mean if mean > 0 else np.where(np.isnan(values), np.nan, 1.0)
    return found
