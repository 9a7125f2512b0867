"""Many images through an engine: the next ones are decoded while it computes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.errors import InvalidValueError
from edgecnn.operating_system import cores
from edgecnn.runtime.image_files import ImageLike
from edgecnn.runtime.sample_axis import BATCH
from edgecnn.tasks.view import View

_Result = TypeVar("_Result")
_Ready = TypeVar("_Ready")

#: Most threads that decode: more than this, and reading the files is what limits.
_MOST_DECODERS = 8


class Streamed(Protocol):
    """What images are streamed through: an engine."""

    @property
    def input(self) -> TensorSpec:
        """What it takes."""

    def prepare(self, images: Sequence[ImageLike]) -> npt.NDArray[Any]:
        """Return images as an input array."""

    def prepare_viewed(self, image: ImageLike) -> tuple[npt.NDArray[Any], View]:
        """Return an image as an input array, and where it lies in that."""

    def run(self, inputs: npt.NDArray[Any]) -> Any:
        """Return the outputs for an input array, as they are."""


def stream(
    engine: Streamed,
    images: Iterable[ImageLike],
    batch: int | None = None,
    infer: Callable[[npt.NDArray[Any]], _Result] | None = None,
) -> Iterator[_Result]:
    """Yield what the engine gives for images in their order, at most `batch` at a time.

    That is what `infer` returns of an input array: `engine.run`'s outputs where it is left out.
    Images are opened, resized and normalized by threads of their own, a batch ahead of the engine; no
    more than two batches are in memory. `batch` is the engine's own where that is fixed. Raises DataError
    where the first image that cannot be read stands, InvalidValueError for a `batch` below one.
    """
    compute: Callable[[npt.NDArray[Any]], _Result] = infer or engine.run

    def prepare(image: ImageLike) -> npt.NDArray[Any]:
        return engine.prepare([image])

    for ready in _prepared(engine, images, batch, prepare):
        yield compute(np.concatenate(ready))


def viewed_stream(
    engine: Streamed,
    images: Iterable[ImageLike],
    batch: int | None,
    infer: Callable[[npt.NDArray[Any]], _Result],
) -> Iterator[tuple[_Result, list[View]]]:
    """Yield what `infer` gives for images as `stream` does, and where each image lies in the input."""
    for ready in _prepared(engine, images, batch, engine.prepare_viewed):
        yield infer(np.concatenate([array for array, _ in ready])), [view for _, view in ready]


def _prepared(
    engine: Streamed, images: Iterable[ImageLike], batch: int | None, prepare: Callable[[ImageLike], _Ready]
) -> Iterator[list[_Ready]]:
    """Yield images that are prepared, a batch at a time, while the next ones are."""
    if batch is not None and batch < 1:
        raise InvalidValueError(f"{batch} images at a time cannot be used", hint="give one or more")
    fixed = engine.input.shape[0]
    size = fixed if isinstance(fixed, int) else batch or BATCH
    waiting: deque[Future[_Ready]] = deque()
    source = iter(images)
    # Decoding leaves the interpreter's lock, so that these threads really run beside the engine.
    decoders = ThreadPoolExecutor(min(_MOST_DECODERS, max(1, len(cores()) // 2)), "decode")
    try:
        waiting.extend(decoders.submit(prepare, image) for image in itertools.islice(source, size))
        while waiting:
            ready = [waiting.popleft().result() for _ in range(len(waiting))]
            waiting.extend(decoders.submit(prepare, image) for image in itertools.islice(source, size))
            yield ready
    finally:
        decoders.shutdown(wait=True, cancel_futures=True)
