"""What a network's weights must be before anything is made of them."""

from __future__ import annotations

import torch
from torch import nn

from edgecnn.errors import WeightsError
from edgecnn.finite import first_broken


def demand_finite(network: nn.Module) -> None:
    """Raise WeightsError naming the tensor and the place if a weight or a statistic is not finite."""
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise WeightsError(
                f"the weights hold, in {name!r}, {first_broken(value.detach().float().cpu().numpy())}",
                hint="the training diverged, or the file is damaged: take an earlier checkpoint",
            )
