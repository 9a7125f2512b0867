"""Detectors that say of each side of a box how probable each distance is (Li et al. 2020; Yu et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks import anchors
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.decoder_settings import Settings
from edgecnn.tasks.decoders.box_coding import from_distances
from edgecnn.tasks.decoders.decoder import (
    Array,
    BoxDecoder,
    NetworkEnd,
    default,
    labelled,
    softmax,
    wrong_outputs,
)
from edgecnn.tasks.decoders.selection import by_class, selected


class PicoDet(BoxDecoder):
    """Scores and distributions, an output each for every level; a distance is what is expected of it."""

    name = "picodet"
    title = "PicoDet"
    defaults = default(score=0.025, iou=0.5, limit=100, candidates=200, strides=[8, 16, 32, 64])

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are."""
        return end.last("")

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of scores, (N, cells, classes) after a sigmoid for each level, and then as many
        logits of distances, (N, cells, 4 * steps): left, top, right, bottom, in strides.
        """  # fmt: skip
        settings = self.settled(settings)
        values = [np.asarray(item.values, np.float32) for item in outputs]
        half = len(values) // 2
        # Where networks are compared, a size of 1 at the end is left out.
        scores = [item[..., None] if item.ndim == 2 else item for item in values[:half]]
        sides = values[half:]
        if (
            len(scores) != len(sides)
            or any(item.ndim != 3 for item in (*scores, *sides))
            or any(item.shape[2] % 4 or item.shape[2] < 8 for item in sides)
            or len({item.shape[2] for item in scores}) != 1
        ):
            raise wrong_outputs(outputs, self.name)
        cells = [grid.pixels for grid in anchors.grids(settings, size)]
        rows = [item.shape[1] for item in scores]
        if rows != cells or rows != [item.shape[1] for item in sides]:
            raise ArtifactError(
                f"the decoder's strides make levels of {', '.join(map(str, cells))} cells, and the outputs"
                f" have {', '.join(map(str, rows))} rows",
                hint="strides are those that the network was trained with, a pair of outputs for each",
            )
        distances = np.concatenate([expected(item) for item in sides], axis=1)
        shares = labelled(np.concatenate(scores, axis=1), settings)
        corners = from_distances(distances, _squares(settings, size))
        return [
            selected(by_class(places, share, settings), settings).clipped(size)
            for places, share in zip(corners, shares, strict=True)
        ]


def _squares(settings: Settings, size: Size) -> Array:
    """Return the square of each cell, (cells, 4) corners in pixels."""
    points = anchors.yolox(settings, size)
    low = points[:, :2] * points[:, 2:]
    return np.concatenate([low, low + points[:, 2:]], axis=1)


def expected(logits: Array) -> Array:
    """Return the mean of each distribution over 0, 1, 2, ...: (..., 4) of logits, (..., 4 * steps)."""
    shares = softmax(logits.reshape(*logits.shape[:-1], 4, -1))
    return np.asarray(shares @ np.arange(shares.shape[-1], dtype=np.float32), np.float32)
