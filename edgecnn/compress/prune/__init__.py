"""Structured pruning: fewer channels, in layers that stay dense, so that every engine gets faster."""

from edgecnn.compress.prune.goal import Goal
from edgecnn.compress.prune.prune_network import Pruned, prune

__all__ = ["Goal", "Pruned", "prune"]
