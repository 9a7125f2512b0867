"""Detection: where objects are in an image, and of which class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn.errors import ParityError
from edgecnn.parity import Kept, Output
from edgecnn.tasks.boxes import Boxes, overlap
from edgecnn.tasks.decoded import Decoded, decoded
from edgecnn.tasks.decoder_settings import number
from edgecnn.tasks.decoders import BoxDecoder
from edgecnn.tasks.mean_average_precision import MeanAveragePrecision
from edgecnn.tasks.metric import Metric
from edgecnn.tasks.task import Names
from edgecnn.tasks.view import View

if TYPE_CHECKING:
    from PIL.Image import Image

#: Least score of a box of the reference that has to be found again; half of it is enough to be found.
SURE = 0.3
#: Least overlap of a box that is found again.
SAME_PLACE = 0.9
#: Boxes that an answer has at most, where nobody says.
_MOST_SHOWN = 100


@dataclass(frozen=True)
class Objects:
    """What was found in one image, the surest first."""

    boxes: Boxes
    #: Name of each one's class.
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


class Detection(Decoded[BoxDecoder]):
    """Boxes around objects, with their classes."""

    name = "detection"
    title = "Detection"
    draws = True
    decoders = BoxDecoder

    def boxes(self, outputs: Sequence[Output]) -> list[Boxes]:
        """Return the boxes of each image in pixels of the input; raises ArtifactError."""
        return decoded(self, outputs)

    def _sure_boxes(self, outputs: Sequence[Output]) -> list[Boxes]:
        """Return the boxes that matter where networks are compared: those below are many, and cost time."""
        least = max(SURE / 2, number(self.settings, "score", 0.0))
        return decoded(self, outputs, score=least)

    def paired(
        self, references: Sequence[Output], outputs: Sequence[Output]
    ) -> tuple[Sequence[Output], Sequence[Output]]:
        """Return the outputs, in which ranked boxes lie beside those of the reference that they stand for."""
        return self.chosen.paired(references, outputs, SURE / 2)

    def kept(self, references: Sequence[Output], outputs: Sequence[Output]) -> Kept:
        """Return the share of the reference's sure boxes that are found again, with their class, in place."""
        pairs = zip(self._sure_boxes(references), self._sure_boxes(outputs), strict=True)
        found = [again(*pair) for pair in pairs]
        count = sum(len(rows) for rows in found)
        share = float(np.concatenate(found).mean()) if count else None
        return Kept(share, count, "boxes")

    def demand_decisions(self, outputs: Sequence[Output]) -> None:
        """Raise ParityError if the reference finds no box for sure."""
        if not any(len(_sure(item, SURE)) for item in self._sure_boxes(outputs)):
            raise ParityError(
                f"the float network finds no box of {SURE:.0%} or more in {len(outputs[0].values)} images, so"
                " that int8 finds the same would prove nothing",
                hint="give images with objects in them (`calib` FOLDER), or `min_sqnr`",
            )

    @property
    def metric(self) -> Metric:
        """Mean average precision, as COCO counts it."""
        return MeanAveragePrecision(self.boxes)

    def answers(
        self, outputs: Sequence[Output], names: Names, top: int | None, views: Sequence[View] | None = None
    ) -> list[Objects]:
        """Return the objects of each image whose score is at least the setting `shown`."""
        least = number(self.settings, "shown", SURE)
        found = self.boxes(outputs)
        if views is not None:
            found = [view.boxes_back(item) for view, item in zip(views, found, strict=True)]
        answers = []
        for item in found:
            shown = _sure(item, least).take(slice(top or _MOST_SHOWN))
            labels = self.named_classes(names, int(shown.classes.max(initial=-1)))
            answers.append(Objects(shown, tuple(labels[index] for index in shown.classes)))
        return answers

    def lines(self, answer: Objects) -> list[str]:
        """Return a line for each object: score, class, left and upper edge, width x height."""
        return [
            f"{item['score']:6.1%}  {item['label']} ({item['index']})  at {x0:.0f}, {y0:.0f}:"
            f" {x1 - x0:.0f} x {y1 - y0:.0f}"
            for item in self.to_json(answer)["objects"]
            for x0, y0, x1, y1 in [item["box"]]
        ] or ["nothing found"]

    def to_json(self, answer: Objects) -> dict[str, Any]:
        """Return the objects; boxes are x0, y0, x1, y1 in pixels of the picture."""
        scores = answer.boxes.scores
        assert scores is not None
        return {
            "objects": [
                {"index": int(index), "label": label, "score": float(score), "box": [float(v) for v in box]}
                for index, label, score, box in zip(
                    answer.boxes.classes, answer.labels, scores, answer.boxes.corners, strict=True
                )
            ]
        }

    def drawn(self, picture: Image, answer: Objects) -> Image:
        """Return a picture with a frame, a class and a score for each object."""
        from edgecnn.tasks.drawing import with_boxes

        return with_boxes(picture, answer.boxes, answer.labels)


def again(reference: Boxes, found: Boxes) -> np.ndarray:
    """Return for each sure box of a reference whether it is found: (boxes,) bool. One box finds one."""
    reference, found = _sure(reference, SURE), _sure(found, SURE / 2)
    reference = reference.take(reference.areas > 0)  # one that was cut to nothing is nowhere
    shares = overlap(reference.corners, found.corners)
    shares[reference.classes[:, None] != found.classes[None]] = 0
    result = np.zeros(len(reference), bool)
    for row in range(len(reference)):
        if len(found) and shares[row].max() >= SAME_PLACE:
            result[row] = True
            shares[:, shares[row].argmax()] = 0
    return result


def _sure(boxes: Boxes, least: float) -> Boxes:
    assert boxes.scores is not None
    return boxes.take(boxes.scores >= least)
