"""Batches for training and evaluation: the same ones for the same seed, however many threads or processes."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from edgecnn.data.augment import Prepared, applied, prepared
from edgecnn.data.augmentations import Augmentation
from edgecnn.data.dataset import Examples
from edgecnn.data.framing import Framing
from edgecnn.data.label_kinds import LabelKind
from edgecnn.data.unreadable import SkipList, Skipped, image_name
from edgecnn.errors import DataError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.runtime import prepare
from edgecnn.runtime.image_files import ImageLike, open_image
from edgecnn.runtime.preprocessing import Preprocessing

#: Frames, (n, H, W, C) uint8, that `prepare.normalize` makes a network's input of, and their labels: the
#: classes, (n,) int64; for detection a list of `Boxes` in pixels of the input; for segmentation masks of its
#: size, (n, H, W) int64, 255 where nothing counts.
Batch = tuple[npt.NDArray[np.uint8], Any]
#: Stands where an image could not be read.
_NOTHING = object()
#: So many batches are prepared while one is used.
_AHEAD = 3


@dataclass(frozen=True)
class _Source:
    """What is kept of an image: a frame (H, W, C), or the picture that the augmentation starts from."""

    pixels: npt.NDArray[np.uint8] | Image.Image
    framing: Framing
    #: Of the picture as it was opened.
    label: Any


class Loader:
    """Batches of `examples`, prepared in a few threads that stay a bounded number of batches ahead.

    The threads share each batch, so that the first one of an epoch is soon there.

    Batch k of epoch e, augmentation included, depends on the seed, e and k alone, so a resumed run sees
    what an uninterrupted one would have seen.

    An image that cannot be read is listed in `skipped`. While shuffling, the next readable one takes its
    place; without shuffling it is left out, and so is its label. More than `max_skipped` of them
    (5 % of the images, at least 10, unless given) are a DataError.

    `workers` is the number of threads (the processor's cores, at most 4). `drop_last` leaves out a last
    batch that is not full (by default while shuffling). Of the decoded images so many are kept as
    fit into `memory` bytes, at the size that the augmentation needs.

    Raises InvalidValueError for numbers that cannot work.
    """

    def __init__(
        self,
        examples: Examples,
        preprocessing: Preprocessing,
        batch: int,
        *,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        shuffle: bool = True,
        workers: int | None = None,
        drop_last: bool | None = None,
        memory: int = 1 << 30,
        max_skipped: int | None = None,
    ) -> None:
        self._workers = workers if workers is not None else min(4, os.cpu_count() or 1)
        if batch < 1 or self._workers < 1 or seed < 0:
            raise InvalidValueError(
                f"a batch of {batch}, {self._workers} threads and the seed {seed} cannot be",
                hint="the batch and the threads are 1 or more, the seed 0 or more",
            )
        self._drop_last = drop_last if drop_last is not None else shuffle
        if self._drop_last and batch > len(examples):
            raise InvalidValueError(
                f"a batch of {batch} is more than the {len(examples)} images", hint="make the batch smaller"
            )
        self._examples = examples
        #: How the images became frames, and what is still to do with those.
        self.preprocessing = preprocessing
        self._size = batch
        self._augmentation = augmentation if augmentation is not None and augmentation.changes else None
        self._seed = seed
        self._shuffle = shuffle
        self._lock = threading.Lock()
        self._skips = SkipList(len(examples), max_skipped)
        self._kept: dict[int, _Source] = {}
        self._room = memory

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        full, rest = divmod(len(self._examples), self._size)
        return full + (rest > 0 and not self._drop_last)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The images that could not be read so far, in the order of the examples."""
        return self._skips.found

    def epoch(self, index: int, *, start: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Yield the batches of epoch `index` from batch `start` on; those before are not even decoded.

        Of `world` processes, the one of this `rank` gets its contiguous part of every batch, so that all of
        them together see what one would. Ending the iteration early ends its threads.
        """
        if index < 0 or start < 0 or not 0 <= rank < world or self._size % world:
            raise InvalidValueError(
                f"epoch {index} from batch {start} of {self._size} images cannot be given to process"
                f" {rank} of {world}",
                hint="the batch must be a multiple of the number of processes, which are counted from 0",
            )
        return self._prefetched(index, start, rank, world)

    def _prefetched(self, epoch: int, start: int, rank: int, world: int) -> Iterator[Batch]:
        order = np.arange(len(self._examples))
        if self._shuffle:
            order = np.random.default_rng([self._seed, epoch]).permutation(order)
        spans = (self._span(number, rank, world) for number in range(start, len(self)))
        stop = threading.Event()
        with ThreadPoolExecutor(self._workers, "edgecnn-loader") as pool:
            pending = deque(
                self._started(pool, order, epoch, span, stop) for span in itertools.islice(spans, _AHEAD)
            )
            try:
                while pending:
                    frames, labels = pending.popleft().result()
                    for span in itertools.islice(spans, 1):
                        pending.append(self._started(pool, order, epoch, span, stop))
                    if len(labels):
                        yield frames, labels
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)

    def _span(self, number: int, rank: int, world: int) -> range:
        """Return the positions in the epoch's order that are this process's part of a batch."""
        first = number * self._size
        count = min(self._size, len(self._examples) - first)
        return range(first + rank * count // world, first + (rank + 1) * count // world)

    def _started(
        self,
        pool: ThreadPoolExecutor,
        order: npt.NDArray[np.int64],
        epoch: int,
        positions: range,
        stop: threading.Event,
    ) -> _Unfinished:
        """Return a batch of which each thread prepares a part."""
        shape = (*self.preprocessing.size, self.preprocessing.channels)
        frames = np.empty((len(positions), *shape), np.uint8)
        parts = min(self._workers, len(positions))
        ends = [len(positions) * part // parts for part in range(parts + 1)] if parts else []
        futures = [
            pool.submit(self._prepare, order, epoch, positions[first:last], frames[first:last], stop)
            for first, last in itertools.pairwise(ends)
        ]
        return _Unfinished(frames, futures, self._examples.kind)

    def _prepare(
        self,
        order: npt.NDArray[np.int64],
        epoch: int,
        positions: range,
        frames: npt.NDArray[np.uint8],
        stop: threading.Event,
    ) -> list[Any]:
        """Fill frames by the images at these positions; return their labels, `_NOTHING` where none is."""
        kind = self._examples.kind
        labels: list[Any] = [_NOTHING] * len(positions)
        for number, position in enumerate(positions):
            if stop.is_set():
                break
            found = self._readable(int(order[position]))
            if found is not None:
                source = found
                frame, framing = source.pixels, source.framing
                if isinstance(frame, Image.Image):
                    assert self._augmentation is not None
                    # Never the numbers that made the order: those have no third word.
                    rng = np.random.default_rng([self._seed, epoch, 1 + position])
                    ready, corners = Prepared(frame, framing), kind.corners(source.label)
                    frame, framing = applied(self._augmentation, ready, self.preprocessing, rng, corners)
                frames[number] = frame
                labels[number] = kind.framed(source.label, framing)
        return labels

    def _readable(self, row: int) -> _Source | None:
        """Return the image of this row, or the next readable one; None where none takes its place."""
        if not self._shuffle:
            return self._source(row)
        for other in itertools.chain(range(row, len(self._examples)), range(row)):
            source = self._source(other)
            if source is not None:
                return source
        raise DataError(f"none of the {len(self._examples)} images can be read: {self.skipped[0].reason}")

    def _source(self, row: int) -> _Source | None:
        kept = self._kept.get(row)
        if kept is not None or row in self._skips:
            return kept
        name = f"image {row}"
        try:
            image = self._examples.images[row]
            name = image_name(image, row)
            source = self._opened(image, row)
        except DataError as error:
            self._skips.add(row, name, error)
            return None
        self._keep(row, source)
        return source

    def _opened(self, image: ImageLike, row: int) -> _Source:
        """Return an image and its label; raises DataError where one of them cannot be read."""
        picture = open_image(image)
        size = Size(picture.height, picture.width)
        label = self._examples.kind.opened(self._examples.labels, row, size)
        if self._augmentation is None:
            framing = Framing.of(prepare.view(self.preprocessing, size))
            return _Source(prepare.frame(self.preprocessing, picture), framing, label)
        ready = prepared(self._augmentation, picture, self.preprocessing)
        return _Source(ready.picture, ready.framing, label)

    def _keep(self, row: int, source: _Source) -> None:
        pixels = source.pixels
        if isinstance(pixels, Image.Image):
            # Pillow takes four bytes for a pixel of three.
            size = pixels.width * pixels.height * (1 if pixels.mode == "L" else 4)
        else:
            size = pixels.nbytes
        size += source.label.nbytes if isinstance(source.label, np.ndarray) else 0
        with self._lock:
            if size <= self._room and row not in self._kept:
                self._room -= size
                self._kept[row] = source


@dataclass(frozen=True)
class _Unfinished:
    """A batch whose frames are being filled, a part by each of `futures`."""

    frames: npt.NDArray[np.uint8]
    futures: Sequence[Future[list[Any]]]
    kind: LabelKind

    def result(self) -> Batch:
        """Return the batch when it is whole, without the images that could not be read."""
        labels = [label for future in self.futures for label in future.result()]
        there = [label for label in labels if label is not _NOTHING]
        full = len(there) == len(self.frames)
        frames = self.frames if full else self.frames[[label is not _NOTHING for label in labels]]
        return frames, self.kind.stacked(there)
