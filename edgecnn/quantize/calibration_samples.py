"""What calibrates and checks a network: images, with constants for other inputs, or samples from files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.data.calibration_images import ImageSource, Tally
from edgecnn.data.folder import CHECK_SHARE, MIN_IMAGES
from edgecnn.data.sample_files import list_samples, read_samples
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.samples import constant, image_sizes, image_spec, is_image, of_images

Array = npt.NDArray[Any]
#: Samples from files that go through the calibration at a time.
_BATCH = 4


class SampleSource(Protocol):
    """Samples for one network (`runtime.samples`): some calibrate, others check."""

    def calibration(self) -> Iterator[Array]:
        """Yield batches that calibrate, the same at each call."""

    def checks(self) -> Array:
        """Return the samples for comparisons."""

    @property
    def most(self) -> int:
        """How many calibrate, at most."""

    @property
    def description(self) -> str:
        """What the manifest says of them."""

    @property
    def notes(self) -> list[str]:
        """What was left out, each in a sentence."""

    def recorded(self) -> dict[str, Any]:
        """Return what the lineage records: how many have calibrated, and a hash of them."""


@dataclass(frozen=True)
class ImageSamples:
    """Images for every image input, and constants for the others."""

    images: ImageSource
    inputs: tuple[TensorSpec, ...]
    constants: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = {
            image_sizes(spec, None, spec.name) for spec in self.inputs if spec.name not in self.constants
        }
        if len(sizes) > 1:
            raise InvalidValueError(
                "the network takes images of several sizes, which one folder of images cannot give",
                hint="`calib` FOLDER of .npz samples, with an array for each input",
            )

    def calibration(self) -> Iterator[Array]:
        """Yield batches that calibrate."""
        return map(self.samples, self.images.calibration())

    def checks(self) -> Array:
        """Return the images for comparisons, as samples."""
        return self.samples(prepare.normalize(self.images.preprocessing, self.images.check_frames()))

    @property
    def most(self) -> int:
        """How many images calibrate, at most."""
        return self.images.most

    @property
    def description(self) -> str:
        """Folder or data set of the images."""
        return self.images.description

    @property
    def notes(self) -> list[str]:
        """What was left out and what could not be read."""
        return self.images.notes

    def recorded(self) -> dict[str, Any]:
        """Return the number of images that have calibrated, and a hash of their pixels."""
        return self.images.tally.to_json()

    def samples(self, images: Array) -> Array:
        """Return prepared images, (N, C, H, W), as samples: each image input gets a view of them."""
        return of_images(images, self.inputs, self.constants)


@dataclass(frozen=True)
class FileSamples:
    """A folder of sample files, of which a fifth checks."""

    folder: Path
    inputs: tuple[TensorSpec, ...]
    calibrating: tuple[Path, ...]
    checking: tuple[Path, ...]
    #: Samples per inference; None for any number.
    batch: int | None
    #: What the longest pass over those that calibrate saw.
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def open(
        cls,
        folder: Path,
        inputs: Sequence[TensorSpec],
        *,
        count: int,
        checks: int,
        batch: int | None,
        seed: int,
    ) -> FileSamples:
        """List and split the files of a folder; raises DataError if they are too few."""
        files = list_samples(folder)
        if len(files) < MIN_IMAGES:
            raise DataError(
                f"{folder} holds {len(files)} samples: too few to calibrate and check",
                hint=f"give at least {MIN_IMAGES}; a hundred that are like the device's own are good",
            )
        order = [files[row] for row in np.random.default_rng(seed).permutation(len(files))]
        calibrating = [file for index, file in enumerate(order) if index % CHECK_SHARE]
        return cls(
            folder, tuple(inputs), tuple(calibrating[:count]), tuple(order[::CHECK_SHARE][:checks]), batch
        )

    def calibration(self) -> Iterator[Array]:
        """Yield batches that calibrate; a fixed batch is filled up with its last sample."""
        size = self.batch or _BATCH
        for start in range(0, len(self.calibrating), size):
            files = self.calibrating[start : start + size]
            part = read_samples(files, self.inputs)
            if self.batch:
                part = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
            yield part
            # Who comes back for more has used it.
            self.tally.add((hashlib.sha256(file.read_bytes()).digest() for file in files), start)

    def checks(self) -> Array:
        """Return the samples for comparisons."""
        return read_samples(self.checking, self.inputs)

    @property
    def most(self) -> int:
        """How many files calibrate."""
        return len(self.calibrating)

    @property
    def description(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def notes(self) -> list[str]:
        """Nothing is left out."""
        return []

    def recorded(self) -> dict[str, Any]:
        """Return the number of files that have calibrated, and a hash of them."""
        return self.tally.to_json()


def described_size(known: Manifest | None, inputs: Sequence[TensorSpec]) -> Size | None:
    """Return the size of images that a manifest says for a file which leaves it open; else None."""
    images = [spec for spec in inputs if len(spec.shape) == 4]
    open_ended = any(isinstance(size, str) or size < 1 for spec in images for size in spec.shape[1:])
    if known is None or known.preprocessing is None or not open_ended:
        return None
    return Preprocessing.from_json(known.preprocessing).size


def given_shapes(
    inputs: Sequence[TensorSpec], constants: Mapping[str, Sequence[float]], samples: Path | None
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the inputs that somebody gives, without the axis of the batch where they have one.

    Raises InvalidValueError for a constant of an input that there is not, DataError for unfit samples.
    """
    if samples is not None:
        first = read_samples(list_samples(samples)[:1], inputs)
        if first.dtype.names is None:
            return {inputs[0].name: first.shape[1:]}
        return {name: first.dtype[name].shape for name in first.dtype.names}
    known = {spec.name: spec for spec in inputs}
    strange = [name for name in constants if name not in known]
    if strange:
        raise InvalidValueError(
            f"the model has no input {strange[0]!r}", hint=f"it has {', '.join(map(repr, known))}"
        )
    image = image_spec(inputs)
    shapes = {name: constant(known[name], value, image, 1).shape[1:] for name, value in constants.items()}
    for spec in inputs:
        if len(inputs) > 1 and spec.name not in shapes and not is_image(spec):
            taken = " x ".join(map(str, spec.shape)) or "one number"
            raise InvalidValueError(
                f"the input {spec.name!r} is no image, but {taken} {spec.dtype}",
                hint=f"`input` {spec.name}=VALUE for all samples, or `calib` FOLDER of .npz samples",
            )
    return shapes
