"""Which of a network's boxes stay: those above a score, of these the surest, of these none that overlap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from edgecnn.image_size import Size
from edgecnn.tasks.boxes import Boxes, suppress
from edgecnn.tasks.decoder_settings import Settings, number
from edgecnn.tasks.decoders.decoder import Array, whole


def by_class(corners: Array, scores: Array, settings: Settings) -> Boxes:
    """Return the candidates of one image, of each class at most `candidates`.

    Corners are (n, 4), scores (n, classes).
    """
    found = [_surest(scores[:, number], settings) for number in range(scores.shape[1])]
    rows = np.concatenate(found)
    classes = np.repeat(np.arange(len(found)), [len(part) for part in found])
    return Boxes(corners[rows], classes, scores[rows, classes])


def by_level(corners: Array, scores: Array, settings: Settings, levels: Iterable[int]) -> Boxes:
    """Return the candidates of one image, of each level at most `candidates`, whatever their classes.

    Corners are (n, 4), scores (n, classes); `levels` are the numbers of rows of each.
    """
    count, found, first = scores.shape[1], [], 0
    for rows in levels:
        level = scores[first : first + rows].reshape(-1)
        found.append(_surest(level, settings) + first * count)
        first += rows
    places = np.concatenate(found)
    rows, classes = places // count, places % count
    return Boxes(corners[rows], classes, scores[rows, classes])


def of_best_class(corners: Array, scores: Array, settings: Settings) -> Boxes:
    """Return the candidates of one image, each of its surest class alone, at most `candidates` of them."""
    classes = scores.argmax(axis=1)
    best = scores[np.arange(len(scores)), classes]
    rows = _surest(best, settings)
    return Boxes(corners[rows], classes[rows], best[rows])


def selected(candidates: Boxes, settings: Settings, clip: Size | None = None) -> Boxes:
    """Return candidates, best first, without those that a surer one of their class overlaps.

    `clip`: the size of a picture to which they are cut before.
    """
    if clip is not None:
        candidates = candidates.clipped(clip)
    scores = candidates.scores
    assert scores is not None
    iou, limit = number(settings, "iou"), whole(settings, "limit")
    return candidates.take(suppress(candidates.corners, scores, candidates.classes, iou, limit))


def _surest(scores: Array, settings: Settings) -> npt.NDArray[np.int64]:
    """Return the rows of scores, (n,), above the least, the surest first, at most `candidates`."""
    rows = np.flatnonzero(scores > number(settings, "score"))
    order = np.argsort(-scores[rows], kind="stable")[: whole(settings, "candidates")]
    return np.asarray(rows[order], np.int64)
