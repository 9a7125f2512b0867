"""Mean intersection over union of masks (Everingham et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import DataError
from edgecnn.parity import Output
from edgecnn.tasks.decoders import Mask
from edgecnn.tasks.metric import Details, Metric
from edgecnn.tasks.view import IGNORED, View

Counts = npt.NDArray[np.int64]


class MeanIou(Metric):
    """Of each class the pixels that label and mask share, over those that either has; the mean over classes.

    Pixels without a label do not count, and neither does a class that is in no label and in no mask.
    """

    name = "mIoU"
    unit = "points of mIoU"
    needs_views = True

    def __init__(self, masks: Callable[[Sequence[Output]], list[Mask]]) -> None:
        """Measure what `masks` makes of outputs."""
        self._masks = masks

    def part(self, outputs: Sequence[Output], labels: Any, views: Sequence[View] | None) -> Counts:
        """Return pixels by label (row) and mask (column), (classes, classes); raises DataError."""
        found = self._masks(outputs)
        if views is not None:
            found = [view.mask_back(mask) for view, mask in zip(views, found, strict=True)]
        return summed([counted(mask, label) for mask, label in zip(found, labels, strict=True)])

    def figure(self, parts: Sequence[Counts]) -> float:
        """Return the mean in points; 0 where no pixel has a label."""
        shares = of_classes(summed(parts))
        return 100 * float(np.nanmean(shares)) if np.isfinite(shares).any() else 0.0

    def details(self, parts: Sequence[Counts], names: Sequence[str]) -> Details:
        """Return the share of right pixels, and the figure of each class."""
        counts = summed(parts)
        right, pixels = counts.diagonal(), counts.sum(axis=1)
        labelled = pixels > 0
        shares = of_classes(counts)
        each = np.divide(right, pixels, out=np.full(len(counts), np.nan), where=labelled)
        return Details(
            {
                "mIoU": self.figure(parts),
                "pixel accuracy": 100 * right.sum() / pixels.sum() if labelled.any() else None,
                "mean accuracy": 100 * float(np.nanmean(each)) if labelled.any() else None,
            },
            [
                {
                    "class": index,
                    "name": names[index] if index < len(names) else f"class {index}",
                    "n": int(pixels[index]),
                    "IoU": 100 * float(shares[index]),
                }
                for index in np.flatnonzero(np.isfinite(shares)).tolist()
            ],
            "IoU",
        )


def counted(mask: Mask, label: npt.NDArray[Any]) -> Counts:
    """Return the pixels of one image by label and mask, (classes + 1, classes + 1): the last is neither."""
    if mask.shape != label.shape:
        raise DataError(
            f"a mask of {label.shape[0]} x {label.shape[1]} pixels labels an image of"
            f" {mask.shape[0]} x {mask.shape[1]}",
            hint="a mask is as large as its image",
        )
    said = label != IGNORED
    truth, found = label[said].astype(np.int64), mask[said].astype(np.int64)
    known = found[found != IGNORED]
    classes = 1 + max(truth.max(initial=0), known.max(initial=0))
    # What nobody saw is wrong, and of no class.
    found = np.where(found == IGNORED, classes, found)
    size = classes + 1
    return np.bincount(truth * size + found, minlength=size * size).reshape(size, size)


def summed(parts: Sequence[Counts]) -> Counts:
    """Return counts of several images as those of one; the last row and column are of no class."""
    size = max(len(part) for part in parts)
    total = np.zeros((size, size), np.int64)
    for part in parts:
        last = len(part) - 1
        total[:last, :last] += part[:last, :last]
        total[:last, -1] += part[:last, -1]
    return total


def of_classes(counts: Counts) -> npt.NDArray[np.float64]:
    """Return intersection over union of each class, (classes,); NaN of one that is nowhere."""
    both = counts.diagonal()[:-1]
    either = counts.sum(axis=0)[:-1] + counts.sum(axis=1)[:-1] - both
    return np.asarray(np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0))
