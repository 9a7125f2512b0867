"""New statistics for the batch normalization of a pruned network."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from edgecnn.compress.prune.importance import Batches


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Batches) -> None:
    """Let every batch normalization take its statistics from `batches` anew, in place.

    Without its lost inputs a channel has another mean and deviation than in training, and what follows is
    scaled wrongly. The new ones are the plain average over all batches (Li et al. 2020, EagleEye,
    arXiv:2007.02491, section 3.3). Nothing else changes: dropout stays off. Single images, whose maps may be
    values without a variance, are left out; where there are no others the statistics stay.
    """
    several = (images for images, _ in batches if len(images) > 1)
    first = next(several, None)
    if first is None:
        return
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta, training = [norm.momentum for norm in norms], network.training
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for images in itertools.chain([first], several):
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(training)
