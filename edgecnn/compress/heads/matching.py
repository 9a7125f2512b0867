"""Which anchor is to find which object, by their overlap."""

from __future__ import annotations

import torch
from torch import Tensor

from edgecnn.compress.heads.box_geometry import overlap
from edgecnn.compress.heads.truth import Truth

#: In the place of an object: none, and undecided, which teaches nothing.
BACKGROUND, UNDECIDED = -1, -2


@torch.no_grad()
def matched(truth: Truth, anchors: Tensor, *, least: float, background: float, best: str) -> Tensor:
    """Return the object of each anchor, (anchors,) int64, or `BACKGROUND`, or `UNDECIDED`.

    An object takes the anchors that overlap it by `least`, and none those below `background`. So that no
    object goes without, it also takes the anchor that overlaps it most: in place of what that had ("force"),
    or if that overlaps it more than any other object ("allow"). Anchors in a crowd are undecided.
    """
    if not len(truth):
        found = torch.full((len(anchors),), BACKGROUND, dtype=torch.int64, device=anchors.device)
    else:
        shares = overlap(truth.corners, anchors)
        values, nearest = shares.max(0)
        found = nearest.clone()
        found[values < background] = BACKGROUND
        found[(values >= background) & (values < least)] = UNDECIDED
        if best == "force":
            found[shares.argmax(1)] = torch.arange(len(truth), device=anchors.device)
        else:
            ties = (shares == shares.amax(1, keepdim=True)).any(0)
            found[ties] = nearest[ties]
    found[(found == BACKGROUND) & truth.in_crowd(anchors)] = UNDECIDED
    return found
