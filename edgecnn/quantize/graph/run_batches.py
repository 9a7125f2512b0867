"""Run a model over many images, and bring what it gives into rows, one for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.runtime.ort_engine import run_session

Array = npt.NDArray[Any]

#: Images per inference where the model takes any number, and pixels of them: tensors grow with both.
_BATCH = 8
_PIXELS = 8 * 256 * 256


def run(
    session: Any, outputs: Sequence[str], images: Array, feeds: Mapping[str, Array] = {}
) -> list[Array | None]:
    """Return each output of an onnxruntime session for images, (N, ...), its axis of images first.

    The session's first input takes the images; `feeds` are the others. A fixed batch is filled up. Where
    an output's images lie along another axis than the first, as in the (time, N, classes) of a sequence, that
    axis is moved; where an image has several entries on it, they get an axis of their own. An output without
    such an axis has a row for each inference; None stands for one whose shape depends on what is seen.
    """
    source = session.get_inputs()[0]
    first = source.shape[0] if source.shape else None
    batch = first if isinstance(first, int) and first > 0 else None
    count = len(images)
    size = batch or max(1, min(_BATCH, _PIXELS // max(1, _pixels(images))))
    if batch:
        images = np.concatenate([images, np.repeat(images[-1:], -count % size, axis=0)])

    def once(part: Array) -> list[Array]:
        return run_session(session, outputs, {source.name: part, **feeds})

    parts = [once(images[start : start + size]) for start in range(0, len(images), size)]
    shapes = {value.name: list(value.shape) for value in session.get_outputs()}
    probes: list[list[Array]] = []
    lengths = [min(size, len(images) - start) for start in range(0, len(images), size)]
    rows: list[Array | None] = []
    for index, name in enumerate(outputs):
        values = [part[index] for part in parts]
        axis = _declared_axis(shapes[name], first, values[0].shape)
        if axis is None and batch:
            axis = _fixed_axis(values[0].shape, batch)
        elif axis is None:
            probes = probes or [once(images[:1]), once(np.concatenate([images[:1]] * 2))]
            axis = _varying_axis(*(probe[index].shape for probe in probes))
        rows.append(_joined(values, axis, lengths, count))
    return rows


def _pixels(images: Array) -> int:
    """Return the pixels of an image, (channels, height, width) or (height, width, channels)."""
    sizes = sorted(images.shape[1:])
    return int(np.prod(sizes[-2:]))


def _joined(values: list[Array], axis: int | None, lengths: list[int], count: int) -> Array | None:
    """Return the rows of several inferences; None if their shapes tell of more than the number of images."""
    if axis is None:
        return np.stack(values) if len({value.shape for value in values}) == 1 else None
    if axis >= 0 and any(value.shape[axis] % length for value, length in zip(values, lengths, strict=True)):
        return None
    parts = [_by_image(value, axis, length) for value, length in zip(values, lengths, strict=True)]
    return np.concatenate(parts)[:count] if len({part.shape[1:] for part in parts}) == 1 else None


def _declared_axis(shape: list[Any], batch: Any, found: tuple[int, ...]) -> int | None:
    """Return the axis that has the name of the input's batch."""
    named = isinstance(batch, str) and len(shape) == len(found) and shape.count(batch) == 1
    return shape.index(batch) if named else None


def _fixed_axis(shape: tuple[int, ...], batch: int) -> int | None:
    """Return the axis of a fixed batch: as long as it is, or what it divides; -1 if a batch of 1 has none."""
    exact = [axis for axis, size in enumerate(shape) if size == batch]
    if exact or batch == 1:
        return exact[0] if exact else -1
    return 0 if shape and shape[0] % batch == 0 else None


def _varying_axis(one: tuple[int, ...], two: tuple[int, ...]) -> int | None:
    """Return the axis along which two images give twice as much as one."""
    if len(one) != len(two):
        return None
    axes = [axis for axis, sizes in enumerate(zip(one, two, strict=True)) if sizes[1] != sizes[0]]
    return axes[0] if len(axes) == 1 and two[axes[0]] == 2 * one[axes[0]] else None


def _by_image(value: Array, axis: int, count: int) -> Array:
    if axis < 0:
        return np.asarray(value)[None]
    value = np.moveaxis(value, axis, 0)
    entries = len(value) // count
    return value if entries == 1 else value.reshape(count, entries, *value.shape[1:])
