"""What a head's loss is: from raw outputs and labelled objects to one number."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgecnn.compress.heads.truth import Truth
from edgecnn.image_size import Size
from edgecnn.tasks import anchors as tiling
from edgecnn.tasks.boxes import Boxes

#: From a decoder's settings and the input's size to anchors.
Tiling = Callable[[Mapping[str, Any], Size], Any]


class HeadLoss(nn.Module, abc.ABC):
    """The loss of one detector: it knows the anchors of its maps."""

    anchors: Tensor

    def __init__(self, settings: Mapping[str, Any], size: Size, tiles: Tiling) -> None:
        super().__init__()
        self.settings = settings
        # No weights: they are neither trained nor kept with a run's state.
        self.register_buffer("anchors", torch.from_numpy(tiles(settings, size)), persistent=False)
        #: Number of anchors of each map.
        counts = [grid.pixels for grid in tiling.grids(settings, size)]
        per_cell = len(self.anchors) // sum(counts)
        self.per_level = tuple(count * per_cell for count in counts)

    @abc.abstractmethod
    def forward(self, outputs: Mapping[str, Tensor], truths: Sequence[Truth]) -> Tensor:
        """Return the loss of raw outputs, (N, anchors, columns) each, and the objects of N images."""

    @staticmethod
    def targets(labels: Sequence[Boxes], device: torch.device) -> list[Truth]:
        """Return what is labelled in each image, on a device."""
        return Truth.of(labels, device)

    def columns(self, classes: Tensor, background: int = 0) -> Tensor:
        """Return the columns of the scores that classes have, behind so many for the background."""
        chosen = self.settings.get("classes")
        return classes + background if chosen is None else classes.new_tensor(tuple(chosen))[classes]
