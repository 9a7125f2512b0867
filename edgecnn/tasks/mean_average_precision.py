"""Mean average precision of boxes, as COCO counts it (Lin et al. 2014)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import optional_packages
from edgecnn.parity import Output
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.metric import Curve, Details, Metric
from edgecnn.tasks.view import View

#: Boxes that were found in an image, and those that are there.
Pair = tuple[Boxes, Boxes]
#: pycocotools' figures, in its order.
_FIGURES = (
    "mAP", "mAP50", "mAP75", "mAP small", "mAP medium", "mAP large",
    "recall 1", "recall 10", "recall 100", "recall small", "recall medium", "recall large",
)  # fmt: skip
#: In its tables: the overlap of 0.5, every size, a hundred boxes.
_HALF, _EVERY_SIZE, _HUNDRED = 0, 0, 2


class MeanAveragePrecision(Metric):
    """The mean over classes and over overlaps of 0.5 to 0.95: the mean precision at 101 recalls.

    Boxes are compared in pixels of the picture. `crowd` counts neither as found nor as missed.
    """

    name = "mAP"
    unit = "points of mAP"
    needs_views = True

    def __init__(self, boxes: Callable[[Sequence[Output]], list[Boxes]]) -> None:
        """Measure what `boxes` makes of outputs."""
        self._boxes = boxes

    def part(self, outputs: Sequence[Output], labels: Any, views: Sequence[View] | None) -> list[Pair]:
        """Return the boxes of each image beside its labels."""
        found = self._boxes(outputs)
        if views is not None:
            found = [view.boxes_back(item) for view, item in zip(views, found, strict=True)]
        return list(zip(found, labels, strict=True))

    def figure(self, parts: Sequence[list[Pair]]) -> float:
        """Return mAP in points; 0 where no image has a box."""
        return max(0.0, 100 * float(measured(_all(parts)).stats[0]))

    def details(self, parts: Sequence[list[Pair]], names: Sequence[str]) -> Details:
        """Return the figures by overlap and size of objects, of each class, and the curves of each class."""
        pairs = _all(parts)
        found = measured(pairs)
        precision = found.eval["precision"][:, :, :, _EVERY_SIZE, _HUNDRED]
        recalls = np.asarray(found.params.recThrs)
        labelled = np.concatenate([truth.classes for _, truth in pairs])
        classes, curves = [], []
        for place, index in enumerate(found.params.catIds):
            each = precision[:, :, place]
            if (each < 0).all():  # no box of it is labelled
                continue
            name = names[index] if index < len(names) else f"class {index}"
            half = each[_HALF]
            classes.append(
                {
                    "class": int(index),
                    "name": name,
                    "n": int(np.sum(labelled == index)),
                    "AP": 100 * float(each.mean()),
                    "AP50": 100 * float(half.mean()),
                }
            )
            curves.append(Curve(name, recalls, half))
        figures = {
            name: None if value < 0 else 100 * float(value)
            for name, value in zip(_FIGURES, found.stats, strict=True)
        }
        return Details(figures, classes, "AP", ("recall", "precision at an overlap of 0.5"), tuple(curves))


def measured(pairs: Sequence[Pair]) -> Any:
    """Return pycocotools' evaluation of the boxes of all images; raises MissingPackageError."""
    module = optional_packages.require("pycocotools.coco", "mAP")
    evaluation = optional_packages.require("pycocotools.cocoeval", "mAP")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        truth, found = module.COCO(), module.COCO()
        highest = max((int(item.classes.max(initial=-1)) for pair in pairs for item in pair), default=-1)
        shared = {
            "images": [{"id": number} for number in range(1, len(pairs) + 1)],
            "categories": [{"id": index, "name": str(index)} for index in range(highest + 1)],
        }
        truth.dataset = {**shared, "annotations": _annotations([pair[1] for pair in pairs])}
        found.dataset = {**shared, "annotations": _annotations([pair[0] for pair in pairs])}
        truth.createIndex()
        found.createIndex()
        result = evaluation.COCOeval(truth, found, "bbox")
        result.evaluate()
        result.accumulate()
        result.summarize()
    return result


def _annotations(images: Sequence[Boxes]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, boxes in enumerate(images, 1):
        places = _with_sides(boxes.corners)
        crowd = np.zeros(len(boxes), bool) if boxes.crowd is None else boxes.crowd
        scores = np.ones(len(boxes)) if boxes.scores is None else boxes.scores.astype(np.float64)
        for place, index, score, many in zip(places, boxes.classes, scores, crowd, strict=True):
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": number,
                    "category_id": int(index),
                    "bbox": place.tolist(),
                    "area": float(place[2] * place[3]),
                    "iscrowd": int(many),
                    "score": float(score),
                }
            )
    return rows


def _with_sides(corners: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return x, y, width and height of corners, (n, 4)."""
    wide = corners.astype(np.float64)
    return np.concatenate([wide[:, :2], wide[:, 2:] - wide[:, :2]], axis=1)


def _all(parts: Sequence[list[Pair]]) -> list[Pair]:
    return [pair for part in parts for pair in part]
