"""The images of an export: some calibrate, others check, none does both."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data import builtin, folder
from edgecnn.export.request import ExportRequest

#: Images that an output is compared on.
CHECK_IMAGES = 32
#: Images that a random network's batch normalization takes its statistics from.
SETTLE_IMAGES = 16
#: Pixels that go through the calibration at a time, four images of 224 x 224: what all the tensors of
#: a network take at once grows with them.
_PIXELS = 4 * 224 * 224

Frames = npt.NDArray[np.uint8]
Batch = npt.NDArray[np.float32]


class Tally:
    """How many images have calibrated so far, and a hash of their pixels."""

    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.sha256()

    def add(self, frames: Frames) -> None:
        """Count frames, (N, H, W, C) uint8."""
        self.count += len(frames)
        self._digest.update(frames.tobytes())

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage records."""
        return {"count": self.count, "images_sha256": self._digest.hexdigest()}


@dataclass(frozen=True)
class ImageSource:
    """Where an export's images come from."""

    request: ExportRequest
    calibration_files: tuple[Any, ...] = ()
    check_files: tuple[Any, ...] = ()
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def open(cls, request: ExportRequest) -> ImageSource:
        """List the images of `--calib`, or take the built-in ones; raises DataError."""
        if request.calib is None:
            return cls(request)
        calibration, check = folder.split(request.calib, request.seed)
        return cls(request, tuple(calibration[: request.calib_images]), tuple(check[:CHECK_IMAGES]))

    @property
    def description(self) -> str:
        """What the manifest says of the calibration images."""
        return str(self.request.calib) if self.calibration_files else self.builtin_description

    @property
    def builtin_description(self) -> str:
        """What the manifest says of images that come with the tools."""
        return "digits" if self._digits else "built-in photographs"

    @property
    def _digits(self) -> bool:
        return self.request.architecture.labels == "digits"

    def settle(self) -> Batch:
        """Return images for the statistics of a random network, as one input."""
        return self.request.preprocessing.normalize(self._builtin(SETTLE_IMAGES, check=False))

    def check_frames(self) -> Frames:
        """Return the images for comparisons, (N, H, W, C) uint8."""
        if self.check_files:
            return np.stack([self.request.preprocessing.frame(file) for file in self.check_files])
        return self._builtin(CHECK_IMAGES, check=True)

    def calibration(self) -> Iterator[Batch]:
        """Yield calibration inputs; images are opened as they are needed.

        A fixed batch is always full: the last one is filled up with its last image.
        """
        preprocessing = self.request.preprocessing
        size = self.request.batch or min(16, max(1, _PIXELS // preprocessing.size**2))
        frames = self._stream(self.request.calib_images, check=False)
        if self.calibration_files:
            frames = map(preprocessing.frame, self.calibration_files)
        while chosen := list(itertools.islice(frames, size)):
            part = np.stack(chosen)
            self.tally.add(part)
            if self.request.batch:
                part = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            yield preprocessing.normalize(part)

    def _builtin(self, count: int, *, check: bool) -> Frames:
        return np.stack(list(self._stream(count, check=check)))

    def _stream(self, count: int, *, check: bool) -> Iterator[Frames]:
        request = self.request
        return builtin.stream(
            request.preprocessing, count, check=check, digit_images=self._digits, seed=request.seed
        )
