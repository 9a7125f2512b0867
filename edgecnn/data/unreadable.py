"""Images that cannot be read: listed and left out, up to a limit."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from edgecnn.errors import DataError
from edgecnn.runtime.image_files import ImageLike

#: Unreadable images that are put up with: this share of all, or this many.
_SHARE, _COUNT = 0.05, 10
#: So many unreadable images are named in an error.
_NAMED = 3


@dataclass(frozen=True)
class Skipped:
    """An image that could not be read."""

    image: str
    reason: str

    def __str__(self) -> str:
        reason = self.reason if self.image in self.reason else f"{self.image}: {self.reason}"
        return f"left out: {reason}"


class SkipList:
    """The unreadable ones of so many `images`, by their row; safe to use from several threads.

    More than `most` of them (5 % of the images, at least 10, unless given) are a DataError.
    """

    def __init__(self, images: int, most: int | None = None) -> None:
        self._images = images
        self._most = max(_COUNT, int(_SHARE * images)) if most is None else most
        self._lock = threading.Lock()
        self._found: dict[int, Skipped] = {}

    def __contains__(self, row: int) -> bool:
        return row in self._found

    @property
    def found(self) -> tuple[Skipped, ...]:
        """What was added so far, in the order of the rows."""
        with self._lock:
            return tuple(self._found[row] for row in sorted(self._found))

    def add(self, row: int, image: str, error: DataError) -> None:
        """Note that the image of this row and name cannot be read; raises DataError if it is one too many."""
        with self._lock:
            self._found[row] = Skipped(image, str(error))
        found = self.found
        if len(found) > self._most:
            raise DataError(
                f"{len(found)} of {self._images} images cannot be read:"
                f" {', '.join(item.image for item in found[:_NAMED])}; {found[0].reason}",
                hint="mend or remove them",
            )


def image_name(image: ImageLike, row: int) -> str:
    """Return the path of an image that has one, else its row."""
    return str(image) if isinstance(image, str | Path) else f"image {row}"
