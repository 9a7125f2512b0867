"""The optimizer, and how its learning rate goes."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from edgecnn.compress.train.train_options import TrainOptions


def make(modules: Iterable[nn.Module], options: TrainOptions, rate: float) -> Optimizer:
    """Return the optimizer of all trainable parameters.

    Biases, normalizations and other vectors are not decayed: they do not make a function wilder
    (He 2019, "Bag of tricks", section 3.1). A parameter may say otherwise of itself by attributes:
    `rate_factor`, what its learning rate is multiplied with, and `no_decay`.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad:
                decayed = parameter.ndim > 1 and not getattr(parameter, "no_decay", False)
                factor = float(getattr(parameter, "rate_factor", 1.0))
                groups.setdefault((factor, decayed), []).append(parameter)
    listed = [
        {
            "params": parameters,
            "lr": rate * factor,
            "highest": rate * factor,
            "weight_decay": options.weight_decay if decayed else 0.0,
        }
        for (factor, decayed), parameters in groups.items()
    ]
    if options.optimizer == "sgd":
        return torch.optim.SGD(listed, lr=rate, momentum=0.9, nesterov=True, fused=True)
    # One pass over each parameter in place of ten: on a CPU that is a twentieth of a step of ResNet-18.
    return torch.optim.AdamW(listed, lr=rate, fused=True)


def set_rate(optimizer: Optimizer, step: int, steps: int, warmup: int) -> float:
    """Set the learning rate of a step: up along a line, down along a cosine. Return its share of the highest.

    It depends on the step alone, so that a resumed run goes on as if it had never stopped.
    """
    share = schedule(step, steps, warmup)
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * share
    return share


def schedule(step: int, steps: int, warmup: int) -> float:
    """Return the share of the highest learning rate at a step, 0 to `steps` - 1 (Loshchilov 2017)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
