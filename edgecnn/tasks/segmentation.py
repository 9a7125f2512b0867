"""Segmentation: of which class each pixel of an image is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import ParityError
from edgecnn.parity import Kept, Output
from edgecnn.tasks.decoded import Decoded, decoded
from edgecnn.tasks.decoders import Mask, MaskDecoder
from edgecnn.tasks.mean_iou import MeanIou
from edgecnn.tasks.metric import Metric
from edgecnn.tasks.task import Names
from edgecnn.tasks.view import IGNORED, View

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Regions:
    """What was found in one image."""

    #: (height, width) of class indices.
    mask: Mask
    #: Name of each class up to the highest in the mask.
    labels: tuple[str, ...]

    @property
    def shares(self) -> list[tuple[int, str, float]]:
        """Index, name and share of the pixels of each class that is there, the largest first."""
        found, counts = np.unique(self.mask[self.mask != IGNORED], return_counts=True)
        rows = [
            (int(index), self.labels[index], float(count) / self.mask.size)
            for index, count in zip(found, counts, strict=True)
        ]
        return sorted(rows, key=lambda row: -row[2])


class Segmentation(Decoded[MaskDecoder]):
    """A class for each pixel."""

    name = "segmentation"
    title = "Segmentation"
    draws = True
    decoders = MaskDecoder

    def masks(self, outputs: Sequence[Output]) -> list[Mask]:
        """Return the mask of each image, as large as the input; raises ArtifactError."""
        return decoded(self, outputs)

    def kept(self, references: Sequence[Output], outputs: Sequence[Output]) -> Kept:
        """Return the share of the pixels whose class is kept, where the reference tells several apart."""
        before, after = self.masks(references), self.masks(outputs)
        same = sum(int(np.sum(one == other)) for one, other in zip(before, after, strict=True))
        count = sum(mask.size for mask in before)
        return Kept(same / count if _tells(before) else None, count, "pixels")

    def demand_decisions(self, outputs: Sequence[Output]) -> None:
        """Raise ParityError if the reference gives all pixels one class."""
        if not _tells(self.masks(outputs)):
            raise ParityError(
                f"the float network gives all pixels of {len(outputs[0].values)} images one class, so that"
                " int8 keeps it would prove nothing",
                hint="give images with several classes (`calib` FOLDER), or `min_sqnr`",
            )

    @property
    def metric(self) -> Metric:
        """Mean intersection over union."""
        return MeanIou(self.masks)

    def answers(
        self, outputs: Sequence[Output], names: Names, top: int | None, views: Sequence[View] | None = None
    ) -> list[Regions]:
        """Return the mask of each image, as large as the picture."""
        found = self.masks(outputs)
        if views is not None:
            found = [view.mask_back(item) for view, item in zip(views, found, strict=True)]
        answers = []
        for mask in found:
            highest = int(mask[mask != IGNORED].max(initial=0))
            answers.append(Regions(mask, tuple(self.named_classes(names, highest))))
        return answers

    def lines(self, answer: Regions) -> list[str]:
        """Return a line for each class that is there."""
        return [f"{share:6.1%}  {label} ({index})" for index, label, share in answer.shares]

    def to_json(self, answer: Regions) -> dict[str, Any]:
        """Return the share of each class that is there, and the picture's size."""
        height, width = answer.mask.shape
        regions = [{"index": index, "label": label, "share": share} for index, label, share in answer.shares]
        return {"regions": regions, "height": height, "width": width}

    def drawn(self, picture: Image, answer: Regions) -> Image:
        """Return a picture in whose regions the colours of their classes lie."""
        from edgecnn.tasks.drawing import with_mask

        return with_mask(picture, answer.mask, answer.labels)


def _tells(masks: Sequence[npt.NDArray[Any]]) -> bool:
    return len(set().union(*(np.unique(mask).tolist() for mask in masks))) > 1
