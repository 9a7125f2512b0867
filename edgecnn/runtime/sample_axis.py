"""Along which axis of an output the images of a batch lie, and any number of images through a network.

Most networks have them on the first axis of every output. A text recogniser gives (time, N, classes), a graph
may fold several entries of an image into one axis, and some outputs have no such axis at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EngineError

Array = npt.NDArray[Any]
#: Images per inference where a network takes any number.
BATCH = 8
#: Computes the outputs of the images with these numbers.
Infer = Callable[[npt.NDArray[np.int64]], Sequence[Array]]


def declared(shape: Sequence[Any], batch: Any) -> int | None:
    """Return the axis of an output's shape that has the name of the input's batch; None without one."""
    named = isinstance(batch, str) and list(shape).count(batch) == 1
    return list(shape).index(batch) if named else None


class SampleAxes:
    """Where the images of a batch lie in the outputs of one network; found out when it first matters."""

    def __init__(
        self,
        axes: Sequence[int | None],
        batches: tuple[int, int | None] = (1, None),
        *,
        fixed: bool = False,
    ) -> None:
        """`axes` are those of the outputs that are `declared`; `fixed` says that `batches` is one number.

        `batches` are the fewest and most images of an inference.
        """
        self._least, self._most = batches
        self._fixed = fixed
        self._axes = list(axes)
        #: Which outputs have no axis for the images; known once something was computed.
        self.without_axis = [self._lacks(axis) for axis in axes]
        #: Whether images are computed one by one.
        self._alone = False
        self._known = None not in self._axes
        self._finding = threading.Lock()

    def rows(self, infer: Infer, count: int, size: int = BATCH) -> list[Array | None]:
        """Return each output for `count` images, (count, ...); `size` at a time where any number is taken.

        Where an image has several entries on the axis, they get an axis of their own. An output of a fixed
        batch that has no such axis has a row for each inference. None stands for one whose shape depends
        on what is seen. Of a free batch, an output without such an axis is computed image by image.
        """
        values, lengths = self._computed(infer, count, size)
        return [
            _joined([part[index] for part in values], axis, lengths, count)
            for index, axis in enumerate(self._axes)
        ]

    def as_they_are(self, infer: Infer, count: int) -> list[Array | None]:
        """Return the outputs as the network lays them out; None for one that cannot be joined or cut."""
        values, lengths = self._computed(infer, count)
        rows = [
            _joined([part[index] for part in values], axis, lengths, count, whole=True)
            for index, axis in enumerate(self._axes)
        ]
        return [
            value if value is None or axis is None or axis < 0 else np.moveaxis(value, 0, axis)
            for value, axis in zip(rows, self._axes, strict=True)
        ]

    def _computed(self, infer: Infer, count: int, size: int = BATCH) -> tuple[list[list[Array]], list[int]]:
        """Return what each inference gave, and how many of its images were asked for."""
        with self._finding:
            if not self._known:
                self._find(infer, count)
                self._known = True
        size = 1 if self._alone else max(1, self._most or size)
        values, lengths = [], []
        for start in range(0, count, size):
            length = min(size, count - start)
            chosen = np.arange(start, start + max(length, 1 if self._alone else self._least))
            values.append(list(infer(np.minimum(chosen, count - 1))))
            # What an inference was filled up with counts as well, until the rows are cut.
            lengths.append(len(chosen))
        return values, lengths

    def _find(self, infer: Infer, count: int) -> None:
        """Find the axes that nobody declared, by one and by two images; or that images have to come alone."""
        first = max(1, self._least)
        one = [value.shape for value in infer(np.arange(first) % count)]
        if self._fixed:
            found = [fixed_axis(shape, first) for shape in one]
        else:
            two, more = self._larger(infer, first)
            found = [_varying_axis(small, large, more) for small, large in zip(one, two, strict=True)]
        found = [known if known is not None else axis for known, axis in zip(self._axes, found, strict=True)]
        self.without_axis = [axis is None or self._lacks(axis) for axis in found]
        if None in found and not self._fixed and first == 1:
            self._alone = True
            found = [fixed_axis(shape, 1) for shape in one]
        self._axes = found

    def _lacks(self, axis: int | None) -> bool:
        """Return whether several images lie along no axis; of one at a time, an inference is its entry."""
        alone = self._fixed and self._least == 1
        return axis is not None and axis < 0 and not alone

    def _larger(self, infer: Infer, first: int) -> tuple[list[tuple[int, ...]], float]:
        """Return the shapes of a larger inference, and how many times as many images it takes."""
        images = 2 * first if self._most is None else min(2 * first, self._most)
        try:
            values = infer(np.zeros(images, np.int64))
        except EngineError:
            if first > 1:
                raise
            # It says that it takes any number of images, and does not.
            return [()] * len(self._axes), 1.0
        return [value.shape for value in values], images / first


def _joined(
    values: list[Array], axis: int | None, lengths: list[int], count: int, *, whole: bool = False
) -> Array | None:
    """Return the rows of several inferences; None if their shapes tell of more than the number of images.

    With `whole`, several entries of an image stay on one axis.
    """
    if axis is None or axis < 0:
        return np.stack(values) if len({value.shape for value in values}) == 1 else None
    if any(value.shape[axis] % length for value, length in zip(values, lengths, strict=True)):
        return None
    parts = [_by_image(value, axis, length) for value, length in zip(values, lengths, strict=True)]
    if len({part.shape[1:] for part in parts}) > 1:
        return None
    joined = np.concatenate(parts)[:count] if len(parts) > 1 else parts[0][:count]
    entries = [value.shape[axis] // length for value, length in zip(values, lengths, strict=True)]
    return joined.reshape(-1, *joined.shape[2:]) if whole and entries[0] != 1 else joined


def fixed_axis(shape: tuple[int, ...], batch: int) -> int | None:
    """Return the axis of a fixed batch: as long as it is, or what it divides; -1 if a batch of 1 has none."""
    exact = [axis for axis, size in enumerate(shape) if size == batch]
    if exact or batch == 1:
        return exact[0] if exact else -1
    return 0 if shape and shape[0] % batch == 0 else None


def _varying_axis(one: tuple[int, ...], two: tuple[int, ...], more: float) -> int | None:
    """Return the axis along which `more` times as many images give as many times as much."""
    if len(one) != len(two):
        return None
    axes = [axis for axis, sizes in enumerate(zip(one, two, strict=True)) if sizes[1] != sizes[0]]
    return axes[0] if len(axes) == 1 and two[axes[0]] == more * one[axes[0]] else None


def _by_image(value: Array, axis: int, count: int) -> Array:
    value = np.moveaxis(value, axis, 0)
    entries = len(value) // count
    return value if entries == 1 else value.reshape(count, entries, *value.shape[1:])
