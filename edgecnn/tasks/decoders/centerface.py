"""Face detectors that say of each cell how surely a face's centre lies in it (Xu et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.decoder_settings import Settings, number
from edgecnn.tasks.decoders.decoder import Array, BoxDecoder, NetworkEnd, default, wrong_outputs
from edgecnn.tasks.decoders.selection import of_best_class, selected


class CenterFace(BoxDecoder):
    """Maps: a probability, sides as logarithms of cells, and where in its cell the centre lies."""

    name = "centerface"
    title = "CenterFace"
    defaults = default(score=0.2, iou=0.3, limit=300, candidates=1000)

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes there are: a face."""
        return 1

    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of (N, 1, height, width) probabilities, and (N, 2, height, width) each of sides
        and of offsets, rows before columns; what follows, such as landmarks, is left out.
        """  # fmt: skip
        settings = self.settled(settings)
        maps = [np.asarray(item.values, np.float32) for item in outputs[:3]]
        cells = maps[0].shape[2:]
        if len(cells) != 2 or 0 in cells or [item.shape[1:] for item in maps] != [
            (1, *cells), (2, *cells), (2, *cells)
        ]:  # fmt: skip
            raise wrong_outputs(outputs, self.name)
        rows = zip(maps[0], maps[1], maps[2], strict=True)
        return [_of_maps(sure, sides, offsets, settings, size) for sure, sides, offsets in rows]


def _of_maps(sure: Array, sides: Array, offsets: Array, settings: Settings, size: Size) -> Boxes:
    rows, columns = np.nonzero(sure[0] > number(settings, "score"))
    stride = np.array([size.width / sure.shape[2], size.height / sure.shape[1]], np.float32)
    places = np.stack([columns, rows], axis=1).astype(np.float32)
    with np.errstate(over="ignore"):
        side = np.exp(sides[::-1, rows, columns].T) * stride
    middle = (places + offsets[::-1, rows, columns].T + np.float32(0.5)) * stride
    edges = np.array([size.width, size.height], np.float32)
    # As the authors do it: a face that begins outside of the picture keeps its sides.
    low = np.clip(middle - side / 2, 0, edges)
    corners = np.concatenate([low, np.minimum(low + side, edges)], axis=1)
    return selected(of_best_class(corners, sure[0, rows, columns][:, None], settings), settings)
