"""Samples: what networks are run on, many of them in one array.

Of a network with one input that array is its inputs, (N, ...). Of several inputs it is a structured array of
N records with a field for each input, so that samples can be cut, repeated and joined whatever they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.errors import InvalidValueError
from edgecnn.runtime.engine_inputs import Inputs

Array = npt.NDArray[Any]


def image_spec(specs: Sequence[TensorSpec]) -> TensorSpec:
    """Return the input whose first axis counts the samples: the first image, else the first input."""
    return next((spec for spec in specs if is_image(spec)), specs[0])


def is_image(spec: TensorSpec) -> bool:
    """Return whether an input takes images, (N, C, H, W) or (N, H, W, C), with a known number of channels."""
    channels = {"NCHW": 1, "NHWC": 3}.get(spec.layout)
    return len(spec.shape) == 4 and channels is not None and isinstance(spec.shape[channels], int)


def is_batched(spec: TensorSpec, image: TensorSpec) -> bool:
    """Return whether the first axis of an input counts the samples, as that of the `image` does."""
    return bool(spec.shape) and (image.shape[:1] == spec.shape[:1] or isinstance(spec.shape[0], str))


def pack(arrays: Mapping[str, Array]) -> Array:
    """Return samples out of an array of each input, (N, ...) all."""
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    count = len(next(iter(arrays.values())))
    samples = np.empty(count, [(name, value.dtype, value.shape[1:]) for name, value in arrays.items()])
    for name, value in arrays.items():
        samples[name] = value
    return samples


def unpack(samples: Array, specs: Sequence[TensorSpec]) -> Inputs:
    """Return samples as a network takes them: an array, or one for each of its inputs by name.

    An input whose first axis does not count samples is that of the first one: it is the same for all.
    """
    if samples.dtype.names is None:
        return samples if specs[0].shape and is_batched(specs[0], specs[0]) else samples[0]
    image = image_spec(specs)
    return {
        spec.name: np.asarray(samples[spec.name], order="C")
        if is_batched(spec, image)
        else np.asarray(samples[spec.name][0])
        for spec in specs
    }


def feeds(samples: Array, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return an array for each input by its name; inputs that samples do not give are left out."""
    if samples.dtype.names is None:
        return {specs[0].name: samples}
    given = [spec for spec in specs if spec.name in samples.dtype.names]
    found = unpack(samples, given)
    return dict(found) if isinstance(found, Mapping) else {given[0].name: found}


def zeros(specs: Sequence[TensorSpec]) -> Array:
    """Return as many samples of zeros as an inference takes at least, with 1 for sizes that are free."""
    image = image_spec(specs)
    count = image.shape[0] if image.shape and isinstance(image.shape[0], int) else 1
    arrays = {}
    for spec in specs:
        sizes = [size if isinstance(size, int) else 1 for size in spec.shape]
        arrays[spec.name] = np.zeros([count, *(sizes[1:] if is_batched(spec, image) else sizes)], spec.dtype)
    return pack(arrays)


def constant(spec: TensorSpec, value: Sequence[float], image: TensorSpec, count: int) -> Array:
    """Return an input's constant for `count` samples; raises InvalidValueError for too many numbers."""
    shape = spec.shape[1:] if is_batched(spec, image) else spec.shape
    sizes = [size for size in shape if isinstance(size, int)]
    numbers = np.asarray(value, np.float64)
    if len(sizes) < len(shape):
        sizes = [size if isinstance(size, int) else len(numbers) for size in shape]
    if numbers.size not in (1, int(np.prod(sizes))):
        raise InvalidValueError(
            f"{spec.name!r} takes {' x '.join(map(str, shape)) or 'one'} numbers, not {numbers.size}",
            hint="give as many, or one that stands for all",
        )
    one = numbers.reshape(sizes) if numbers.size > 1 else np.full(sizes, numbers.item())
    return np.repeat(one.astype(spec.dtype)[None], count, axis=0)


def of_images(images: Array, specs: Sequence[TensorSpec], constants: Mapping[str, Sequence[float]]) -> Array:
    """Return prepared images, (N, C, H, W), as samples: each image input gets a view of them.

    `constants` are the values of the other inputs by name.
    """
    arrays: dict[str, Array] = {}
    for spec in specs:
        if spec.name in constants:
            arrays[spec.name] = constant(spec, constants[spec.name], image_spec(specs), len(images))
            continue
        own = views(images, len(arrays.keys() - constants.keys()), height=2, width=3)
        arrays[spec.name] = np.ascontiguousarray(own.transpose(0, 2, 3, 1) if spec.layout == "NHWC" else own)
    return pack(arrays)


def image_sizes(spec: TensorSpec, size: tuple[int, int] | None, name: str) -> tuple[int, int, int]:
    """Return height, width and channels of an image input; `size` stands for sizes that are free.

    Raises InvalidValueError for a size that is missing, or is not the input's.
    """
    order = (1, 2, 3) if spec.layout == "NHWC" else (2, 3, 1)
    *sides, channels = (spec.shape[axis] for axis in order)
    if size is None and not all(isinstance(side, int) for side in sides):
        raise InvalidValueError(
            f"{name} takes images of any size ({' x '.join(map(str, spec.shape))})",
            hint="say which: `size` 224, or 192x256 (height x width)",
        )
    wanted = size or (0, 0)
    found = [side if isinstance(side, int) else own for side, own in zip(sides, wanted, strict=True)]
    if size is not None and tuple(found) != size:
        raise InvalidValueError(
            f"{name} takes images of {' x '.join(map(str, sides))}, not {size[0]} x {size[1]}",
            hint="leave `size` out, or give the size that it takes",
        )
    return found[0], found[1], int(channels)


def views(images: Array, number: int, *, height: int, width: int) -> Array:
    """Return pictures, (N, ...) with these axes, for one of several image inputs, by its `number` from 0.

    The first gets them as they are, the second mirrored, a third upside down: other pictures, and the same
    whatever the batch.
    """
    axes = view_axes(number, height=height, width=width)
    return np.flip(images, axes) if axes else images


def view_axes(number: int, *, height: int, width: int) -> tuple[int, ...]:
    """Return the axes along which `views` turns pictures."""
    return tuple(axis for bit, axis in ((1, width), (2, height)) if number & bit)
