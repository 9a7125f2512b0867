"""Boxes as a network says them: how far they are from an anchor."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgecnn.tasks.decoder_settings import Settings, numbers, wrong
from edgecnn.tasks.decoders.decoder import Array

#: A side is at most so many times the anchor's, as a logarithm: as in torchvision.
MOST_GROWTH = math.log(1000 / 16)


def coding(settings: Settings) -> tuple[float, float, float, float]:
    """Return what offsets are divided by: x and y of the centre, width, height."""
    found = numbers(settings, "coding", [1.0, 1.0, 1.0, 1.0])
    if len(found) != 4 or min(found) <= 0:
        raise wrong("coding", settings.get("coding"), "four numbers above zero")
    return (found[0], found[1], found[2], found[3])


def from_offsets(offsets: Array, anchors: Array, settings: Settings) -> npt.NDArray[np.float32]:
    """Return corners, (..., n, 4), of dx, dy, dw, dh: the centre in anchor's sides, sides as logarithms."""
    x, y, width, height = coding(settings)
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = anchors[:, :2] + np.float32(0.5) * sides
    middle = offsets[..., :2] / np.array([x, y], np.float32) * sides + centres
    grown = np.minimum(offsets[..., 2:] / np.array([width, height], np.float32), np.float32(MOST_GROWTH))
    half = np.float32(0.5) * (np.exp(grown) * sides)
    return np.asarray(np.concatenate([middle - half, middle + half], axis=-1), np.float32)


def from_distances(distances: Array, anchors: Array) -> npt.NDArray[np.float32]:
    """Return corners, (..., n, 4), of how far left, top, right and bottom are, in the anchor's sides."""
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = np.float32(0.5) * (anchors[:, :2] + anchors[:, 2:])
    low = centres - distances[..., :2] * sides
    high = centres + distances[..., 2:] * sides
    return np.asarray(np.concatenate([low, high], axis=-1), np.float32)
