"""What is wrong with labels: left out or mended, counted, and named in the notes of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgecnn.errors import DataError
from edgecnn.image_size import Size
from edgecnn.tasks.boxes import Boxes

#: Boxes of one image; more are a mistake, and would cost a loss gigabytes.
MOST_BOXES = 5_000
#: Places that a note names.
_NAMED = 3
#: By so many pixels a box may reach beyond its picture without a word: rounding, or counting from 1.
_SLACK = 1.0


class Faults:
    """Kinds of faults, in the order in which they were found, how often each, and where first."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._places: dict[str, list[str]] = {}

    def add(self, kind: str, place: object, count: int = 1) -> None:
        """Count a fault of a kind ("boxes of negative or zero size left out") at a place."""
        if count:
            self._counts[kind] += count
            named = self._places.setdefault(kind, [])
            if len(named) <= _NAMED and str(place) not in named:
                named.append(str(place))

    @property
    def notes(self) -> list[str]:
        """A sentence for each kind."""
        return [
            f"{kind}: {count} ({', '.join(self._places[kind][:_NAMED])}"
            f"{', ...' if len(self._places[kind]) > _NAMED else ''})"
            for kind, count in self._counts.items()
        ]


def checked(
    corners: Sequence[Sequence[float]] | npt.NDArray[np.float64],
    classes: Sequence[int],
    crowd: Sequence[bool],
    size: Size,
    place: object,
    faults: Faults,
) -> Boxes | None:
    """Return the boxes of an image that can be used, cut at its edges; None if the image is to be left out.

    `corners` are (n, 4) of x0 y0 x1 y1 in pixels, `classes` -1 where unknown, `size` that of the picture.
    """
    if len(corners) > MOST_BOXES:
        faults.add(f"images left out with more than {MOST_BOXES:,} boxes", f"{place} with {len(corners):,}")
        return None
    every = np.array(corners, np.float64).reshape(-1, 4)
    numbers = np.array(classes, np.int64)
    finite = np.asarray(np.isfinite(every).all(axis=1))
    safe = np.where(finite[:, None], every, 0)
    ordered = (safe[:, 2:] > safe[:, :2]).all(axis=1)
    edges = np.array([size.width, size.height] * 2, np.float64)
    cut = np.clip(safe, 0, edges)
    inside = (cut[:, 2:] > cut[:, :2]).all(axis=1)
    known = numbers >= 0
    use = finite & ordered & inside & known
    faults.add("boxes left out that are not finite numbers", place, int((~finite).sum()))
    faults.add("boxes left out of negative or zero size", place, int((finite & ~ordered).sum()))
    faults.add("boxes left out that lie outside their picture", place, int((ordered & ~inside).sum()))
    faults.add("boxes left out of unknown classes", place, int((finite & ordered & inside & ~known).sum()))
    beyond = use & (np.abs(cut - safe) > _SLACK).any(axis=1)
    faults.add("boxes that reach beyond their picture, cut at its edge", place, int(beyond.sum()))
    ignored = np.array(crowd, bool)[use]
    return Boxes(cut[use].astype(np.float32), numbers[use], crowd=ignored if ignored.any() else None)


def demand_boxes(name: str, boxes: Sequence[Boxes], faults: Faults) -> None:
    """Raise DataError where no image of those that train has a box."""
    if not any(len(item) for item in boxes):
        raise DataError(f"no image of {name} has a box", hint="; ".join(faults.notes) or None)
