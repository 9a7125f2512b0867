"""What a weighted layer multiplies its weights with: sampled positions of its input, as rows of a matrix."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgecnn.quantize.graph.index import attribute
from edgecnn.quantize.graph.weighted_layer import WeightedLayer

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """What a layer gets at some positions, images in order; both (groups, rows, inputs per output).

    `wanted` is the float network's, `given` the quantized network's, rounded to the steps of its range.
    """

    wanted: Array
    given: Array

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.given.shape[1]

    def split(self, parts: int) -> list[Rows]:
        """Return the rows in so many parts, each of other images."""
        bounds = [self.count * index // parts for index in range(parts + 1)]
        return [self._part(slice(*ends)) for ends in itertools.pairwise(bounds)]

    def cut(self, share: float) -> tuple[Rows, Rows]:
        """Return the first so many of the rows and the others, of other images."""
        end = round(self.count * share)
        return self._part(slice(end)), self._part(slice(end, None))

    def pick(self, count: int, rng: np.random.Generator) -> Rows:
        """Return at most `count` of the rows, in random order."""
        return self._part(rng.permutation(self.count)[:count])

    def _part(self, part: slice | npt.NDArray[np.int64]) -> Rows:
        return Rows(self.wanted[:, part], self.given[:, part])


class Patches:
    """A choice of positions of a layer's output, the same for every input that it is applied to."""

    def __init__(self, layer: WeightedLayer, input_shape: tuple[int, ...], count: int) -> None:
        self._layer, node = layer, layer.node
        rng = np.random.default_rng(0)
        self._corners: list[npt.NDArray[np.int64]] = []
        if node.op_type != "Conv":
            self._width = input_shape[-1]
            self._rows = _choose(rng, int(np.prod(input_shape[:-1])), count)
            return
        kernel = layer.shape[2:]
        self._width = input_shape[1] * int(np.prod(kernel))
        strides = attribute(node, "strides", []) or [1] * len(kernel)
        dilations = attribute(node, "dilations", []) or [1] * len(kernel)
        spans = [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]
        self._pads = _pads(node, input_shape[2:], spans, strides)
        outputs = [
            (size + before + after - span) // stride + 1
            for size, (before, after), span, stride in zip(
                input_shape[2:], self._pads, spans, strides, strict=True
            )
        ]
        total = input_shape[0] * int(np.prod(outputs))
        self._rows, *corner = np.unravel_index(_choose(rng, total, count), (input_shape[0], *outputs))
        self._corners = [index * stride for index, stride in zip(corner, strides, strict=True)]
        self._taps = [
            tuple(int(tap) * step for tap, step in zip(taps, dilations, strict=True))
            for taps in np.ndindex(*kernel)
        ]

    @property
    def count(self) -> int:
        """Number of positions."""
        return len(self._rows)

    def __call__(self, values: Array) -> Array:
        """Return (groups, rows, inputs per output) of an input array, zeros where it is padded."""
        if self._layer.node.op_type != "Conv":
            return values.reshape(-1, values.shape[-1])[self._rows][None]
        rows = np.zeros((self.count, values.shape[1], len(self._taps)), np.float32)
        for index, tap in enumerate(self._taps):
            where = [
                corner + offset - before
                for corner, offset, (before, _) in zip(self._corners, tap, self._pads, strict=True)
            ]
            inside = np.ones(self.count, bool)
            for position, size in zip(where, values.shape[2:], strict=True):
                inside &= (position >= 0) & (position < size)
            at: tuple[Any, ...] = (self._rows[inside], slice(None), *(place[inside] for place in where))
            rows[inside, :, index] = values[at]
        return rows.reshape(self.count, self._layer.groups, -1).transpose(1, 0, 2)


def _choose(rng: np.random.Generator, total: int, count: int) -> npt.NDArray[np.int64]:
    return np.sort(rng.choice(total, count, replace=False)) if count < total else np.arange(total)


def _pads(
    node: onnx.NodeProto, sizes: tuple[int, ...], spans: list[int], strides: list[int]
) -> list[tuple[int, int]]:
    automatic = attribute(node, "auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for size, span, stride in zip(sizes, spans, strides, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + span - size)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if automatic == "SAME_UPPER" else (more, less))
        return pads
    flat = attribute(node, "pads", []) or [0] * (2 * len(sizes))
    return list(zip(flat[: len(sizes)], flat[len(sizes) :], strict=True))
