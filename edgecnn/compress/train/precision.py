"""Mixed precision: the forward pass in 16 bits, weights and their steps in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class MixedPrecision:
    """What a step needs for the precision `name` of `options.PRECISIONS`; for "no" it does nothing."""

    def __init__(self, name: str, device: torch.device) -> None:
        self._name, self._device = name, device
        #: Float16's gradients vanish unless the loss is scaled up (Micikevicius 2018, section 3.2).
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def forward(self) -> torch.autocast:
        """Return the context of a forward pass."""
        dtype = _TYPES.get(self._name, torch.bfloat16)
        return torch.autocast(self._device.type, dtype, enabled=self._name in _TYPES)

    def backward(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Leave the gradients of a loss in the optimizer's parameters."""
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Take a step, or none where gradients in float16 went to infinity; the gradients are used up."""
        self.scaler.step(optimizer)
        self.scaler.update()
        optimizer.zero_grad()
