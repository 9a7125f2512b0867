"""How many images a network gets right, while it is a PyTorch network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from edgecnn.data.loader import Loader


def evaluate(network: nn.Module, loader: Loader, accelerator: Any = None) -> tuple[float, float, int]:
    """Return top-1 and mean cross entropy of a network, and on how many of a loader's images they rest.

    The network stays on the device where it is.
    """
    rank, world = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
    home = next(network.parameters()).device
    device = accelerator.device if accelerator else home
    training = network.training
    network.eval().to(device)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    with torch.inference_mode():
        for images, labels in loader.epoch(0, rank=rank, world=world):
            wanted = torch.from_numpy(labels).to(device)
            logits = network(torch.from_numpy(images).to(device)).float()
            loss = nn.functional.cross_entropy(logits, wanted, reduction="sum")
            right = (logits.argmax(1) == wanted).sum()
            sums += torch.stack([right.to(sums), loss.to(sums), sums.new_tensor(len(labels))])
    network.train(training).to(home)
    hits, total, count = (accelerator.reduce(sums) if accelerator else sums).tolist()
    return hits / max(1, count), total / max(1, count), int(count)
