"""What a metric needs of many images, batch by batch: outputs of all of them would not fit into memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.data.folder import LabelledImages
from edgecnn.data.sample_files import read_labels, read_samples
from edgecnn.data.unreadable import Skipped
from edgecnn.image_size import Size
from edgecnn.measure.accuracy.engine_outputs import Work, joined_outputs
from edgecnn.measure.accuracy.infer_images import sweep
from edgecnn.parity import Output
from edgecnn.progress import Progress
from edgecnn.runtime import prepare
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_files import ImageLike, open_image
from edgecnn.runtime.sample_axis import BATCH
from edgecnn.runtime.samples import unpack
from edgecnn.tasks.metric import Metric

#: Bytes of outputs that are kept to be compared, of each engine; of so many images in any case.
_KEPT_BYTES, _KEPT_IMAGES = 128 << 20, 32


@dataclass(frozen=True)
class Measured:
    """What engines gave for labelled images."""

    #: Of each engine, the parts of the metric; None without one.
    parts: list[list[Any]] | None
    #: Of each engine, the outputs of the first images: of all, if these are few or small.
    outputs: list[list[Output]]
    #: Which images could be read, (N,) int64, ascending.
    rows: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...]
    #: Of the whole, decoding included.
    seconds: float

    @property
    def compared(self) -> int:
        """Number of images whose outputs are there."""
        return len(self.outputs[0][0].values) if self.outputs[0] else 0


class _Kept:
    """The outputs of the first images of each engine, as far as they have room."""

    def __init__(self) -> None:
        self._batches: dict[int, list[list[Output]]] = {}

    def add(self, first: int, outputs: list[list[Output]]) -> None:
        """Keep the outputs of a batch whose first image is number `first`, if they have room."""
        size = max(sum(item.values.nbytes for item in found) for found in outputs)
        count = max(1, len(outputs[0][0].values)) if outputs[0] else 1
        if first < max(_KEPT_IMAGES, _KEPT_BYTES * count // max(1, size)):
            self._batches[first] = outputs

    def joined(self, engines: Sequence[Engine]) -> list[list[Output]]:
        """Return the outputs of each engine, in the order of the images."""
        batches = [self._batches[first] for first in sorted(self._batches)]
        return [
            joined_outputs(engine, [batch[number] for batch in batches])
            for number, engine in enumerate(engines)
        ]


def of_images(
    work: Work,
    dataset: LabelledImages,
    metric: Metric | None,
    *,
    batch: int,
    workers: int,
    progress: Progress,
) -> Measured:
    """Run every image through each engine; raises as `engine_outputs.of_images` does, and DataError."""
    kept = _Kept()

    def read(image: ImageLike) -> tuple[Any, Size | None]:
        if metric is None or not metric.needs_views:
            return work.read(image), None
        picture = open_image(image)
        return work.read(picture), Size(picture.height, picture.width)

    def infer(found: list[tuple[Any, Size | None]], rows: list[int]) -> list[Any]:
        outputs = work.infer([frames for frames, _ in found], rows)
        kept.add(rows[0], outputs)
        if metric is None:
            return []
        labels = dataset.labels_of(rows)
        sizes = [size for _, size in found if size is not None]
        return [
            metric.part(given, labels, [prepare.view(engine.preprocessing, size) for size in sizes] or None)
            for engine, given in zip(work.engines, outputs, strict=True)
        ]

    found = sweep(dataset.images, read, infer, batch=batch, workers=workers, progress=progress)
    parts = None if metric is None else [list(column) for column in zip(*found.results, strict=True)]
    return Measured(parts, kept.joined(work.engines), found.rows, found.skipped, found.seconds)


def of_samples(engines: Sequence[Engine], files: Sequence[Path], metric: Metric | None) -> Measured:
    """Run samples from files through the engines, a few at a time; raises DataError for unfit ones."""
    start, kept = time.perf_counter(), _Kept()
    parts: list[list[Any]] = [[] for _ in engines]
    for first in range(0, len(files), BATCH):
        some = files[first : first + BATCH]
        labels = None if metric is None else read_labels(some, engines[0].inputs)
        outputs = []
        for engine, own in zip(engines, parts, strict=True):
            outputs.append(engine.rows(unpack(read_samples(some, engine.inputs), engine.inputs)))
            if metric is not None:
                own.append(metric.part(outputs[-1], labels, None))
        kept.add(first, outputs)
    seconds = time.perf_counter() - start
    return Measured(
        None if metric is None else parts, kept.joined(engines), np.arange(len(files)), (), seconds
    )
