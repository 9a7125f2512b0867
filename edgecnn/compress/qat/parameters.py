"""What of a network in quantization-aware training learns how fast."""

from __future__ import annotations

from typing import Any

from torch import nn

#: Step of AdamW for weights and biases with batch normalization folded: an exported graph takes much less
#: than the network that it was exported from.
LEARNING_RATE = 1e-4
#: Step of a scale, as a share of itself, over that of the weights.
_SCALES = 100.0


def parameter_groups(
    module: nn.Module, lr: float = LEARNING_RATE, weight_decay: float = 1e-4
) -> list[dict[str, Any]]:
    """Return the parameter groups of a `QuantizedModule` for AdamW, with a schedule that ends at zero.

    Weights take `lr` and decay; biases take `lr`. Scales and offsets, which are logarithms, take a
    hundred times that, and decay would pull them to where they started. Plain gradient descent fits none of
    them: its steps grow with the square of a scale.
    """
    weights: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    steps: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2] in ("log_scale", "log_low"):
            steps.append(parameter)
        else:
            (weights if parameter.ndim > 1 else biases).append(parameter)
    return [
        {"params": weights, "lr": lr, "weight_decay": weight_decay},
        {"params": biases, "lr": lr, "weight_decay": 0.0},
        {"params": steps, "lr": lr * _SCALES, "weight_decay": 0.0},
    ]
