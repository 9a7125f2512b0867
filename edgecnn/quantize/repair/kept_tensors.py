"""The tensors that a walk keeps between two pieces of a network, over the images that take part so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.artifact import TensorSpec
from edgecnn.runtime.ort_engine import open_session, run_session
from edgecnn.runtime.samples import feeds

Array = npt.NDArray[np.float32]


class Buffers:
    """Memory that is used again: fresh pages cost more than the arithmetic done on them."""

    def __init__(self) -> None:
        self._free: list[npt.NDArray[np.uint8]] = []
        self._in_use: dict[int, npt.NDArray[np.uint8]] = {}

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> Array:
        """Return an array with any values."""
        size = math.prod(shape) * dtype.itemsize
        fitting = [index for index, buffer in enumerate(self._free) if buffer.nbytes >= size]
        if fitting:
            buffer = self._free.pop(min(fitting, key=lambda index: self._free[index].nbytes))
        else:
            # What is too small now goes back to the system, so that free memory does not add up.
            self._free.clear()
            buffer = np.empty(size, np.uint8)
        array = buffer[:size].view(dtype).reshape(shape)
        self._in_use[id(array)] = buffer
        return array

    def give_back(self, array: Array) -> None:
        """Let the memory of what `take` returned be used again; nothing happens for another array."""
        if (buffer := self._in_use.pop(id(array), None)) is not None:
            self._free.append(buffer)


class Kept:
    """What later pieces of one network read, for the first `parts` parts of the images.

    All parts have as many images, and what a part gives is appended to a tensor along its first axis,
    whatever that axis counts: images, or steps of a sequence, or heads of an attention.
    """

    def __init__(self, specs: Sequence[TensorSpec], images: Array, parts: int, buffers: Buffers) -> None:
        """Keep the network's inputs, those of `specs`, alone; `images`, samples, are `parts` parts."""
        self.parts = 0
        self._given = [feeds(part, specs) for part in np.split(images, parts)]
        self._whole, self._size = feeds(images, specs), len(images) // parts
        self._buffers = buffers
        self._values: dict[str, Array] = {}

    def __getitem__(self, name: str) -> Array:
        if name in self._whole:
            return self._whole[name][: self.parts * self._size]
        return self._values[name]

    @property
    def names(self) -> list[str]:
        """The tensors that were computed."""
        return sorted(self._values)

    def join(self, before: onnx.ModelProto | None, parts: int) -> None:
        """Let more parts take part, so that there are `parts`.

        `before` computes all `names` from the network's inputs; None if there are none yet.
        """
        if before is not None and self._values:
            names = self.names
            read = [value.name for value in before.graph.input]
            given = [{name: part[name] for name in read} for part in self._given[self.parts : parts]]
            more = self._computed(before, names, given)
            for name in names:
                old, new = self._values[name], more[name]
                both = self._buffers.take((len(old) + len(new), *old.shape[1:]), old.dtype)
                np.concatenate([old, new], out=both)
                self._values[name] = both
                for array in (old, new):
                    self._buffers.give_back(array)
        self.parts = parts

    def advance(self, piece: onnx.ModelProto, last_used: Sequence[str]) -> None:
        """Compute a piece's outputs, and drop what is no longer read."""
        names = [value.name for value in piece.graph.output]
        if names:
            inputs = [value.name for value in piece.graph.input]
            feeds = [{name: self._part(name, index) for name in inputs} for index in range(self.parts)]
            self._values |= self._computed(piece, names, feeds)
        for name in last_used:
            if name in self._values:
                self._buffers.give_back(self._values.pop(name))

    def _part(self, name: str, index: int) -> Array:
        """Return the view of one part of a tensor."""
        if name in self._whole:
            return self._given[index][name]
        value = self[name]
        size = len(value) // self.parts
        return value[index * size : (index + 1) * size]

    def _computed(
        self, model: onnx.ModelProto, names: list[str], feeds: Sequence[dict[str, Array]]
    ) -> dict[str, Array]:
        """Return a model's outputs for some parts."""
        session = open_session(model.SerializeToString())
        found: dict[str, Array] = {}
        for index, feed in enumerate(feeds):
            for name, value in zip(names, map(np.atleast_1d, run_session(session, names, feed)), strict=True):
                size = len(value)
                if name not in found:
                    found[name] = self._buffers.take((len(feeds) * size, *value.shape[1:]), value.dtype)
                found[name][index * size : (index + 1) * size] = value
        return found
