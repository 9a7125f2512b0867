"""Every image of a data set once: read, inferred, and what cannot be read left out."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from edgecnn.data.dataset import Images
from edgecnn.data.unreadable import SkipList, Skipped, image_name
from edgecnn.errors import DataError
from edgecnn.operating_system import cores
from edgecnn.progress import Progress, silent
from edgecnn.runtime.image_files import ImageLike

_Read = TypeVar("_Read")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Sweep(Generic[_Result]):
    """What came of the images."""

    #: One for each batch, in the order of the images.
    results: list[_Result]
    #: Which images could be read, (N,) int64, ascending.
    rows: npt.NDArray[np.int64]
    skipped: tuple[Skipped, ...]
    #: Of the whole, reading included.
    seconds: float


def sweep(
    images: Images,
    read: Callable[[ImageLike], _Read],
    infer: Callable[[list[_Read], list[int]], _Result],
    *,
    batch: int,
    workers: int | None = None,
    progress: Progress = silent,
) -> Sweep[_Result]:
    """Read images and infer them `batch` at a time, in `workers` threads (the processor's cores).

    Each thread reads a batch and then infers it, so that while one waits for the engine another decodes,
    and no core is idle: both leave the interpreter's lock. Engines of one thread share the cores best,
    because none waits for the threads of another. At most `workers` batches are in memory.

    `infer` is told which images they are. Where `read` raises DataError the image is left out and listed.
    Raises DataError if that are more than 5 % of the images, and more than 10, or if none can be read.
    """
    start = time.perf_counter()
    workers = workers or len(cores())
    skips = SkipList(len(images))

    def work(span: range) -> tuple[list[int], _Result | None]:
        rows, found = [], []
        for row in span:
            name = f"image {row}"
            try:
                image = images[row]
                name = image_name(image, row)
                found.append(read(image))
            except DataError as error:
                skips.add(row, name, error)
            else:
                rows.append(row)
        return rows, infer(found, rows) if found else None

    spans = (range(first, min(first + batch, len(images))) for first in range(0, len(images), batch))
    rows: list[int] = []
    results: list[_Result] = []
    with ThreadPoolExecutor(workers, "edgecnn-sweep") as pool:
        try:
            for batch_rows, result in pool.map(work, spans):
                if result is not None:
                    rows += batch_rows
                    results.append(result)
                    progress(f"images: {10 * (10 * len(rows) // len(images))} %")
        finally:
            pool.shutdown(cancel_futures=True)
    if not results:
        raise DataError(f"none of the {len(images)} images can be read: {skips.found[0].reason}")
    return Sweep(results, np.array(rows), skips.found, time.perf_counter() - start)
