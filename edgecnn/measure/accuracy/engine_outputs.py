"""What several engines give for the same images: each image is decoded once for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data.dataset import Images
from edgecnn.data.frame_cache import FrameCache
from edgecnn.data.unreadable import Skipped
from edgecnn.errors import EngineError
from edgecnn.measure.accuracy.infer_images import sweep
from edgecnn.measure.real_inputs import inputs_of_frames
from edgecnn.parity import Output
from edgecnn.progress import Progress, silent
from edgecnn.runtime import prepare
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_files import open_image
from edgecnn.runtime.preprocessing import Preprocessing

#: An image as each preprocessing frames it, (H, W, C) uint8.
_Frames = dict[Preprocessing, npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Given:
    """What engines gave."""

    #: Of each engine, each output, (N, ...).
    outputs: list[list[Output]]
    #: Which images could be read, (N,) int64, ascending.
    rows: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...]
    #: Of the whole, decoding included.
    seconds: float


def of_images(
    engines: Sequence[Engine],
    images: Images,
    *,
    batch: int,
    workers: int,
    cache: FrameCache | None = None,
    progress: Progress = silent,
    constants: Mapping[str, Sequence[float]] | None = None,
) -> Given:
    """Run every image through each engine's own preprocessing, and through the engine; see `sweep`.

    `constants` are the values of inputs that are no images, by name.

    Raises DataError if too many images cannot be read, ArtifactError for a file that does not say how its
    images are prepared, EngineError for outputs that depend on what is seen.
    """
    work = Work(engines, cache, constants)
    found = sweep(images, work.read, work.infer, batch=batch, workers=workers, progress=progress)
    outputs = [
        joined_outputs(engine, list(parts))
        for engine, parts in zip(engines, zip(*found.results, strict=True), strict=True)
    ]
    return Given(outputs, found.rows, found.skipped, found.seconds)


class Work:
    """What is done with each image, and with each batch, for all engines at once."""

    def __init__(
        self,
        engines: Sequence[Engine],
        cache: FrameCache | None,
        constants: Mapping[str, Sequence[float]] | None,
    ) -> None:
        self.engines = engines
        self._cache, self._constants = cache, constants
        self._preprocessings = {item.preprocessing for item in engines}

    def read(self, image: Any) -> _Frames:
        """Return an image as each engine takes it, decoded once."""
        if self._cache is not None:
            return {item: self._cache.frame(image, item) for item in self._preprocessings}
        picture = open_image(image)
        return {item: prepare.frame(item, picture) for item in self._preprocessings}

    def infer(self, frames: list[_Frames], rows: list[int]) -> list[list[Output]]:
        """Return the outputs of each engine."""
        return [
            item.rows(
                inputs_of_frames(
                    item, np.stack([frame[item.preprocessing] for frame in frames]), self._constants
                )
            )
            for item in self.engines
        ]


def joined_outputs(engine: Engine, parts: list[list[Output]]) -> list[Output]:
    """Return the outputs of several batches as those of one."""
    names = [item.name for item in parts[0]]
    columns = [[part[index].values for part in parts] for index in range(len(names))]
    for name, values in zip(names, columns, strict=True):
        if len({value.shape[1:] for value in values}) > 1:
            raise EngineError(
                f"the output {name!r} of {engine.path.name} has another shape for other images",
                hint="export the network without picking boxes at its end",
            )
    return [Output(name, np.concatenate(values)) for name, values in zip(names, columns, strict=True)]
