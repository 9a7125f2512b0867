"""The images of a quantization or an export: some calibrate, others check, none does both."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data import builtin, folder
from edgecnn.data.dataset import DataSet, Images
from edgecnn.data.unreadable import SkipList, Skipped, image_name
from edgecnn.errors import DataError
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import ImageLike
from edgecnn.runtime.preprocessing import Preprocessing

#: Pixels that go through the calibration at a time, four images of 224 x 224: what all the tensors of
#: a network take at once grows with them.
_PIXELS = 4 * 224 * 224

Frames = npt.NDArray[np.uint8]
Buffer = bytes | Frames
Batch = npt.NDArray[np.float32]


class Tally:
    """How many images or other samples have calibrated, and a hash of them: in one or several passes."""

    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.sha256()

    def add(self, samples: Iterable[Buffer], before: int) -> None:
        """Count samples that come after so many others in a pass; all passes begin with the same."""
        for sample in itertools.islice(samples, max(0, self.count - before), None):
            self.count += 1
            self._digest.update(sample if isinstance(sample, bytes) else sample.tobytes())

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage records."""
        return {"count": self.count, "images_sha256": self._digest.hexdigest()}


@dataclass(frozen=True)
class ImageSource:
    """Images for one network. Those of a folder are split once, by the seed."""

    preprocessing: Preprocessing
    #: At most this many images calibrate, and this many check.
    count: int
    checks: int
    #: Images per inference; None for any number.
    batch: int | None
    #: Whether the built-in images are handwritten digits instead of photographs.
    digits: bool
    seed: int
    #: Folder or data set that the images come from; None for the built-in ones.
    folder: Path | None = None
    calibration_files: tuple[ImageLike, ...] = ()
    check_files: tuple[ImageLike, ...] = ()
    #: What was left out of the folder, each in a sentence.
    left_out: tuple[str, ...] = ()
    #: Images of both that could not be read, by name.
    skipped: dict[str, Skipped] = field(default_factory=dict)
    #: What the longest pass over the calibration images saw.
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def open(
        cls,
        preprocessing: Preprocessing,
        *,
        calib: Path | None = None,
        count: int = 64,
        checks: int = 32,
        batch: int | None = None,
        digits: bool = False,
        seed: int = 0,
        dataset: DataSet | None = None,
    ) -> ImageSource:
        """List the images of the folder `calib` or of `dataset`, or take the built-in ones; raises DataError.

        Of a data set, training images calibrate and test images check.
        """
        plain = cls(preprocessing, count, checks, batch, digits, seed)
        if dataset is not None:
            return cls(
                preprocessing, count, checks, batch, digits, seed, Path(dataset.name),
                _picked(dataset.train.images, count, seed), _picked(dataset.test.images, checks, seed),
                dataset.notes,
            )  # fmt: skip
        if calib is None:
            return plain
        found = folder.split(calib, seed)
        return cls(
            preprocessing, count, checks, batch, digits, seed, calib,
            tuple(found.calibration[:count]), tuple(found.check[:checks]), found.notes,
        )  # fmt: skip

    @property
    def most(self) -> int:
        """Number of calibration images, if all can be read."""
        return len(self.calibration_files) or self.count

    @property
    def description(self) -> str:
        """What the manifest says of the calibration images."""
        return str(self.folder) if self.folder else self.builtin_description

    @property
    def notes(self) -> list[str]:
        """What was left out and what could not be read so far, each in a sentence."""
        return [*self.left_out, *map(str, self.skipped.values())]

    @property
    def builtin_description(self) -> str:
        """What the manifest says of images that come with the tools."""
        return "digits" if self.digits else "built-in photographs"

    def builtin(self, count: int) -> Batch:
        """Return built-in images that may calibrate, as one input."""
        return prepare.normalize(self.preprocessing, np.stack(list(self._stream(count, check=False))))

    def check_frames(self) -> Frames:
        """Return the images for comparisons, (N, H, W, C) uint8; those that cannot be read are left out."""
        if self.check_files:
            return np.stack(list(self._readable(self.check_files)))
        return np.stack(list(self._stream(self.checks, check=True)))

    def calibration(self) -> Iterator[Batch]:
        """Yield calibration inputs, the same at each call; images are opened as they are needed.

        Those that cannot be read are left out. A fixed batch is always full: the last one is filled up with
        its last image. Raises DataError if too many cannot be read (see `SkipList`).
        """
        size = self.batch or min(16, max(1, _PIXELS // self.preprocessing.size.pixels))
        frames = self._stream(self.count, check=False)
        if self.calibration_files:
            frames = self._readable(self.calibration_files)
        seen = 0
        while chosen := list(itertools.islice(frames, size)):
            part = np.stack(chosen)
            filled = part
            if self.batch:
                filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            yield prepare.normalize(self.preprocessing, filled)
            # Who comes back for more has used it.
            self.tally.add(part, seen)
            seen += len(part)

    def _readable(self, files: tuple[ImageLike, ...]) -> Iterator[Frames]:
        """Yield the frames of the images that can be read; raises DataError if too many cannot, or all."""
        skips = SkipList(len(files))
        for row, file in enumerate(files):
            name = image_name(file, row)
            try:
                frame = prepare.frame(self.preprocessing, file)
            except DataError as error:
                skips.add(row, name, error)
                self.skipped[name] = Skipped(name, str(error))
            else:
                yield frame
        if len(skips.found) == len(files):
            raise DataError(f"none of the {len(files)} images can be read: {skips.found[0].reason}")

    def _stream(self, count: int, *, check: bool) -> Iterator[Frames]:
        return builtin.stream(
            self.preprocessing, count, check=check, digit_images=self.digits, seed=self.seed
        )


def _picked(images: Images, count: int, seed: int) -> tuple[ImageLike, ...]:
    """Return some of the images, drawn by the seed."""
    rows = np.random.default_rng(seed).permutation(len(images))[:count]
    return tuple(images[int(row)] for row in np.sort(rows))
