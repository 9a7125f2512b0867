"""How many images a network gets right, while it is a PyTorch network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.compress.class_scores import scores
from edgecnn.compress.input_batch import InputBatch, to_device
from edgecnn.compress.losses import measuring, own_loss
from edgecnn.data.loader import Loader
from edgecnn.zoo.code_errors import told


def evaluate(
    network: nn.Module,
    loader: Loader,
    accelerator: Any = None,
    *,
    classifies: bool = True,
    scores: Callable[[Any], Tensor] = scores,
) -> tuple[float | None, float, int]:
    """Return top-1 and mean loss of a network, and on how many of a loader's images they rest.

    The loss is cross entropy. Of a network that does not classify it is the network's own, and there is no
    top-1. `scores` finds the class scores in what the network gives. The network stays on the device where it
    is.
    """
    rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    measure = partial(_classified, scores) if classifies else _own
    with (
        evaluating(network, accelerator) as device,
        contextlib.nullcontext() if classifies else measuring(network),
    ):
        sums = torch.zeros(3, dtype=torch.float64, device=device)
        to_input = InputBatch(loader.preprocessing, device)
        for frames, labels in loader.epoch(0, rank=rank, world=world):
            images, wanted = to_input(frames), to_device(labels, device)
            with told():
                sums += measure(network, images, wanted).to(sums)
    hits, total, count = (accelerator.reduce(sums) if accelerator else sums).tolist()
    return hits / max(1, count) if classifies else None, total / max(1, count), int(count)


@contextlib.contextmanager
def evaluating(network: nn.Module, accelerator: Any = None) -> Iterator[torch.device]:
    """Yield the device on which a network is measured, as it is used; it goes back afterwards."""
    home = next(network.parameters()).device
    device = accelerator.device if accelerator else home
    training = network.training
    network.eval().to(device)
    try:
        with torch.inference_mode():
            yield device
    finally:
        network.train(training).to(home)


def _classified(
    scores: Callable[[Any], Tensor], network: nn.Module, images: Tensor, labels: Tensor
) -> Tensor:
    """Return hits, sum of the losses and number of images."""
    logits = scores(network(images)).float()
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    hits = (logits.argmax(1) == labels).sum()
    return torch.stack([hits.double(), loss.double(), loss.new_tensor(len(labels)).double()])


def _own(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    loss = own_loss(network, images, labels).double()
    count = loss.new_tensor(len(labels))
    return torch.stack([torch.zeros_like(loss), loss * count, count])
