"""How a pruned network differs from the one that its architecture builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


def restructure(network: nn.Module, structure: Mapping[str, Any]) -> None:
    """Change a freshly built network, in place, so that the weights of the pruned one fit."""
    raise NotImplementedError
