"""What a network's weights must be before anything is made of them."""

from __future__ import annotations

from torch import nn

from edgecnn.errors import WeightsError
from edgecnn.finite import first_broken


def demand_finite(network: nn.Module) -> None:
    """Raise WeightsError naming the tensor and the place if a weight or a statistic is not finite.

    A bias may be infinite, which switches its channel off, and so may a mask that a network keeps.
    """
    weights = {name for name, _ in network.named_parameters() if not name.endswith("bias")}
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue
        infinite = name in weights or "running_" in name
        if broken := first_broken(value.detach().float().cpu().numpy(), infinite=infinite):
            raise WeightsError(
                f"the weights hold, in {name!r}, {broken}",
                hint="the training diverged, or the file is damaged: take an earlier checkpoint",
            )
