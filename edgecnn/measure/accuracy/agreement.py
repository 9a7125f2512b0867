"""Does a model answer as the one that it was made from, and where it does not, which is right?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import files
from edgecnn.data.dataset import Images
from edgecnn.data.unreadable import image_name
from edgecnn.measure.accuracy.confidence_interval import wilson
from edgecnn.measure.accuracy.reliability import confidence_and_loss
from edgecnn.parity import Parity


@dataclass(frozen=True)
class Changed:
    """An image to which the two give different answers."""

    image: str
    #: Which one of the data set's images.
    row: int
    #: Classes: the true one, the model's and the reference's.
    label: int
    answer: int
    reference_answer: int
    #: Probabilities of the two answers, each by its own network.
    confidence: float
    reference_confidence: float


@dataclass(frozen=True)
class Agreement:
    """A model beside its reference, on the same decoded images."""

    reference: Path
    parity: Parity
    both_right: int
    only_model_right: int
    only_reference_right: int
    neither_right: int
    #: The surest answers of the reference first.
    changed: tuple[Changed, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share of images with the same answer."""
        return wilson(self.parity.images - len(self.changed), self.parity.images)

    @property
    def reference_top1(self) -> float:
        """Top-1 accuracy of the reference."""
        return (self.both_right + self.only_reference_right) / self.parity.images

    @property
    def p_value(self) -> float:
        """How probable so uneven a split is if both are equally accurate (McNemar's test, exact, two-sided).

        Only images that one of them gets right say anything (McNemar 1947); their split is binomial.
        """
        split = self.only_model_right, self.only_reference_right
        n = sum(split)
        return min(1.0, 2 * sum(math.comb(n, k) for k in range(min(split) + 1)) / 2**n)

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Return JSON values; `names` are those of the classes."""
        return {
            "path": str(self.reference),
            "sha256": files.sha256(self.reference),
            "top1": self.reference_top1,
            "parity": self.parity.to_json(),
            "top1_agreement_interval": list(self.interval),
            "both_right": self.both_right,
            "only_model_right": self.only_model_right,
            "only_reference_right": self.only_reference_right,
            "neither_right": self.neither_right,
            "p_value": self.p_value,
            "changed": [
                {
                    **dataclasses.asdict(item),
                    **{
                        f"{key}_name": names[getattr(item, key)]
                        for key in ("label", "answer", "reference_answer")
                    },
                }
                for item in self.changed
            ],
        }


def agree(
    reference: Path,
    parity: Parity,
    logits: npt.NDArray[np.float32],
    reference_logits: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    images: Images,
    rows: npt.NDArray[np.int64],
) -> Agreement:
    """Compare logits, (N, classes), with the reference's; `rows` says which of `images` gave them.

    `parity` is that of all outputs.
    """
    answers, others = logits.argmax(axis=1), reference_logits.argmax(axis=1)
    right, other_right = answers == labels, others == labels
    sure, _ = confidence_and_loss(logits, labels)
    other_sure, _ = confidence_and_loss(reference_logits, labels)
    places = np.flatnonzero(answers != others)
    return Agreement(
        reference,
        parity,
        both_right=int((right & other_right).sum()),
        only_model_right=int((right & ~other_right).sum()),
        only_reference_right=int((~right & other_right).sum()),
        neither_right=int((~right & ~other_right).sum()),
        changed=tuple(
            Changed(
                image=image_name(images[int(rows[place])], int(rows[place])),
                row=int(rows[place]),
                label=int(labels[place]),
                answer=int(answers[place]),
                reference_answer=int(others[place]),
                confidence=float(sure[place]),
                reference_confidence=float(other_sure[place]),
            )
            for place in sorted(places, key=lambda place: -other_sure[place])
        ),
    )
