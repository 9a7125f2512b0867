"""How the raw outputs of each detector become boxes, as manifests keep it. Importing it needs no torch.

The grids of the maps are not here: they are those of the network at its resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Columns of a head of 91 that are none of COCO's 80 classes: the background, and numbers never used.
_UNUSED = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_COLUMNS = tuple(column for column in range(91) if column not in _UNUSED)


def _scales(low: float, high: float, maps: int) -> tuple[float, ...]:
    """Return sizes of default boxes, shares of the image, evenly from `low` to `high`, and 1 at the end."""
    return (*(low + (high - low) * at / (maps - 1) for at in range(maps)), 1.0)


#: SSD's paper, section 3.1 (300 x 300), by the sizes in pixels of the authors' code: 21, 45, 99, ... of 300.
SSD300: Mapping[str, Any] = {
    "name": "ssd",
    "score": 0.01,
    "iou": 0.45,
    "limit": 200,
    "candidates": 400,
    "ratios": ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
    "scales": (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
    "steps": (8, 16, 32, 64, 100, 300),
    "coding": (10.0, 10.0, 5.0, 5.0),
}
#: The same for maps that halve from one to the next: boxes lie in the middle of the cells.
SSD: Mapping[str, Any] = {
    **{key: value for key, value in SSD300.items() if key != "steps"},
    "ratios": ((2, 3),) * 6,
    "scales": _scales(0.15, 0.9, 6),
}
#: MobileNetV2's paper, section 6.2.
SSDLITE: Mapping[str, Any] = {
    **SSD,
    "score": 0.001,
    "iou": 0.55,
    "limit": 300,
    "candidates": 300,
    "scales": _scales(0.2, 0.95, 6),
}
#: RetinaNet's paper, section 4: three sizes and three shapes at each of five levels.
RETINANET: Mapping[str, Any] = {
    "name": "retinanet",
    "score": 0.05,
    "iou": 0.5,
    "limit": 300,
    "candidates": 1000,
    "sizes": tuple(
        (side, int(side * 2 ** (1 / 3)), int(side * 2 ** (2 / 3))) for side in (32, 64, 128, 256, 512)
    ),
    "ratios": (0.5, 1.0, 2.0),
    "coding": (1.0, 1.0, 1.0, 1.0),
}
#: FCOS's paper, section 3: distances to the sides, in strides.
FCOS: Mapping[str, Any] = {
    "name": "fcos",
    "score": 0.2,
    "iou": 0.6,
    "limit": 100,
    "candidates": 1000,
    "strides": (8, 16, 32, 64, 128),
}
#: YOLOX's paper, section 2: one box for each cell, no anchors.
YOLOX: Mapping[str, Any] = {
    "name": "yolox",
    "score": 0.01,
    "iou": 0.65,
    "limit": 300,
    "strides": (8, 16, 32),
}
