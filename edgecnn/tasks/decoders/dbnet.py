"""Text detectors whose output says of each pixel how surely it is text (Liao et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.decoder_settings import Settings, number
from edgecnn.tasks.decoders.decoder import Array, BoxDecoder, NetworkEnd, default, whole, wrong_outputs


class DbNet(BoxDecoder):
    """A map of shrunken text: what hangs together is a line of text, whose box is grown again."""

    name = "dbnet"
    title = "DBNet, PP-OCR's text detectors"
    defaults = default(score=0.6, limit=1000, threshold=0.3, grow=1.5, least=3)

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are: text."""
        return 1

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the upright boxes of (N, 1, height, width) probabilities, of the one class 0."""
        settings = self.settled(settings)
        values = np.asarray(outputs[0].values, np.float32)
        if values.ndim != 4 or values.shape[1] != 1 or 0 in values.shape[2:]:
            raise wrong_outputs(outputs, self.name)
        scale = (size.width / values.shape[3], size.height / values.shape[2])
        return [_of_map(item[0], settings).moved(scale, (0, 0)).clipped(size) for item in values]


def _of_map(sure: Array, settings: Settings) -> Boxes:
    pieces, count = connected(sure > number(settings, "threshold"))
    if not count:
        return Boxes.none()
    rows, columns = np.nonzero(pieces)
    owner = pieces[rows, columns] - 1
    low, high = np.full((count, 2), np.iinfo(np.int64).max), np.full((count, 2), -1)
    places = np.stack([columns, rows], axis=1)
    np.minimum.at(low, owner, places)
    np.maximum.at(high, owner, places)
    pixels = np.bincount(owner, minlength=count)
    scores = np.bincount(owner, sure[rows, columns], minlength=count) / pixels
    sides = high + 1 - low
    # As the authors grow a polygon: by its area over its circumference.
    grown = (sides.prod(axis=1) * number(settings, "grow") / (2 * sides.sum(axis=1)))[:, None]
    kept = (scores > number(settings, "score")) & (sides.min(axis=1) >= number(settings, "least"))
    order = np.argsort(-scores, kind="stable")
    order = order[kept[order]][: whole(settings, "limit")]
    corners = np.concatenate([low - grown, high + 1 + grown], axis=1)[order]
    return Boxes(corners, np.zeros(len(order), np.int64), scores[order])


def connected(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], int]:
    """Return the number of the piece that each pixel of a mask, (height, width), belongs to, and their count.

    Pieces count from 1 in reading order; pixels that touch at a corner hang together. Others are of piece 0.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    edges = np.diff(padded, axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    parents = list(range(len(rows)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    # Of each run of pixels in a row: the runs of the row before that touch it lie side by side.
    first = np.searchsorted(rows, np.arange(height + 1))
    for row in range(1, height):
        above, end_above = first[row - 1], first[row]
        for run in range(first[row], first[row + 1]):
            while above < end_above and ends[above] < starts[run]:
                above += 1
            other = above
            while other < end_above and starts[other] <= ends[run]:
                one, two = root(other), root(run)
                parents[max(one, two)] = min(one, two)
                other += 1
    roots = np.array([root(run) for run in range(len(rows))], np.int64)
    found, numbers = np.unique(roots, return_inverse=True)
    result = np.zeros((height, width), np.int64)
    for run in range(len(rows)):
        result[rows[run], starts[run] : ends[run]] = numbers[run] + 1
    return result, len(found)
