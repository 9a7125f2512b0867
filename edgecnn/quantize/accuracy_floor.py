"""The least that int8 must keep of a float network, asked or not: what keeps less is destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgecnn.budget import Budget
from edgecnn.parity import Parity
from edgecnn.runtime.preprocessing import Preprocessing

#: At 10 dB a tenth of the output's energy is noise. With fewer than half of the decisions, most are others.
FLOOR = Budget(min_sqnr_db=10.0, min_agreement=0.5)
#: Points of top-1, lost on labelled images, up to which no int8 network is destroyed, whatever else it loses.
NEAR = 1.0
#: Key in the manifest's record of the quantization, of a file below the floor only.
KEY = "floor"


@dataclass(frozen=True)
class Ruined:
    """An int8 network that is below the floor."""

    #: What it keeps, in words.
    keeps: str
    #: Why that may be, the likeliest first, each with what to do.
    causes: tuple[str, ...]
    #: Whether it was taken as it is: because it was asked, or because the weights are random.
    accepted: bool

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        return {
            **FLOOR.to_json(),
            "met": False,
            "keeps": self.keeps,
            "accepted": self.accepted,
            "causes": list(self.causes),
        }


def ruined(
    parity: Parity, budget: Budget, causes: Sequence[str], *, accepted: bool, drop: float | None = None
) -> Ruined | None:
    """Return what an int8 network is that keeps less than the floor; None for one that keeps more.

    What a budget asks stands in place of the floor's same figure, a drop of top-1 in place of both. So does
    `drop`, the points of top-1 that were lost, where they were measured and are few.
    """
    if budget.max_drop is not None or (drop is not None and drop <= NEAR):
        return None
    agreement = parity.top1_agreement
    poor = []
    if budget.min_sqnr_db is None and parity.sqnr_db < (FLOOR.min_sqnr_db or 0):
        poor.append(f"{parity.sqnr_db:.1f} dB" + (f" of output {parity.worst}" if parity.worst else ""))
    if budget.min_agreement is None and agreement is not None and agreement < (FLOOR.min_agreement or 0):
        poor.append(f"{agreement:.0%} of the decisions")
    return Ruined(" and ".join(poor), tuple(causes), accepted) if poor else None


def causes(said: tuple[Preprocessing, str] | None, images: str, count: int) -> tuple[str, ...]:
    """Return why an int8 network may be below the floor.

    `said` is how images are prepared and where that is known from, None where there are none; `images` says
    which ones calibrated.
    """
    prepared: tuple[str, ...] = ()
    if said is not None:
        preprocessing, said_by = said
        prepared = (
            f"the images are prepared otherwise than in training (here by {said_by}: {preprocessing})",
        )
    return (
        *prepared,
        f"the images that calibrated, {count} of {images}, are too few or unlike the real ones (`calib`"
        " FOLDER)",
        "some layers cannot be int8 (edgecnn quantize: --sensitivity shows which, --min-sqnr 20 leaves them"
        " float)",
    )
