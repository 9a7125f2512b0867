"""What a reduced network must keep of the one that it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, option

if TYPE_CHECKING:
    from edgecnn.parity import Parity


@dataclass(frozen=True)
class Budget(Request):
    """What an int8 model must keep, on images that did not calibrate it. What is None is not asked."""

    min_sqnr_db: float | None = option(None, "Decibels of the output that must be kept.", name="min_sqnr")
    #: Share of the images, 0 to 1; of a detector's boxes, of a segmenter's pixels.
    min_agreement: float | None = option(
        None, "Images, boxes or pixels whose class must stay the same, in percent.", percent=True
    )
    #: On labelled images.
    max_drop: float | None = option(
        None, "Points of top-1, mAP or mIoU, of 100, that may be lost on labelled images."
    )

    def __post_init__(self) -> None:
        for name in ("min_agreement", "max_drop", "min_sqnr_db"):
            if getattr(self, name) is not None and not math.isfinite(getattr(self, name)):
                raise InvalidValueError(
                    f"`{name.removesuffix('_db')}` must be finite", hint="20 dB, 95 %, 1 point"
                )
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise InvalidValueError(
                f"`min_agreement` of {100 * self.min_agreement:g} % cannot be asked", hint="0 to 100"
            )
        if self.min_agreement is not None and 0 < self.min_agreement <= 0.01:
            raise InvalidValueError(
                f"`min_agreement` of {100 * self.min_agreement:g} % asks for nothing",
                hint=f"in percent: {1e4 * self.min_agreement:g}",
            )
        if self.max_drop is not None and not 0 <= self.max_drop <= 100:
            raise InvalidValueError(
                f"`max_drop` of {self.max_drop:g} points cannot be asked", hint="0 to 100"
            )
        super().__post_init__()

    @property
    def asks(self) -> bool:
        """Whether anything is asked."""
        return any(value is not None for value in (self.min_sqnr_db, self.min_agreement, self.max_drop))

    def met(self, parity: Parity, drop: float | None = None) -> bool:
        """Return whether a result keeps to the budget."""
        return (
            (self.min_sqnr_db is None or parity.sqnr_db >= self.min_sqnr_db)
            and (
                self.min_agreement is None
                or (parity.top1_agreement is not None and parity.top1_agreement >= self.min_agreement)
            )
            and (self.max_drop is None or (drop is not None and drop <= self.max_drop))
        )

    def to_json(self) -> dict[str, float]:
        """Return what is asked."""
        asked = {
            "min_sqnr_db": self.min_sqnr_db,
            "min_agreement": self.min_agreement,
            "max_drop": self.max_drop,
        }
        return {key: value for key, value in asked.items() if value is not None}
