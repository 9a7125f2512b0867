"""ONNX Runtime on a GPU: inputs and outputs stay in place there, and CUDA graphs replay the kernels."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecnn.artifact import TensorSpec
from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Array
from edgecnn.runtime.gpu_turns import TURNS
from edgecnn.runtime.times import Times

#: Types of outputs that NumPy and the library share.
_BINDABLE = ("float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool")
#: Shapes whose buffers are kept; an engine that sees more of them starts over.
_MOST_SHAPES = 8
#: Shapes that get a CUDA graph. Each holds the network's weights once more.
_MOST_GRAPHS = 4
#: The shape of each input.
_Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class _Buffers:
    session: Any
    binding: Any
    sources: list[Any]
    results: list[Any]
    options: Any


class BoundSession:
    """Runs a session on buffers of its own, one caller at a time.

    A copy goes in and a copy comes out, through memory that was allocated once; with a CUDA graph the
    kernels between them are started as one. Each shape of inputs has its buffers, and its graph, in a
    session of its own: a session that runs another shape frees what a captured graph still reads, which
    answers wrongly then, or crashes (ONNX Runtime 1.31).
    """

    def __init__(
        self,
        session: Any,
        device: str,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        another: Callable[[bool], Any] | None = None,
    ) -> None:
        """Bind a session whose outputs are `bindable`.

        `another` opens the same network once more, with a CUDA graph or without. None: `session` captures
        no graph, and runs every shape.
        """
        self._ort = require("onnxruntime", "running an ONNX file")
        self._device = device
        self._inputs, self._outputs = inputs, outputs
        self._another = another
        #: Whose kernels are captured, each for one shape; the first is opened before any shape is known.
        self._waiting, self._captured = ([session], 0) if another else ([], 0)
        #: Runs the shapes that are not captured.
        self._plain = None if another else session
        self._buffers: dict[_Shapes, _Buffers] = {}
        self._lock = threading.Lock()

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Return the outputs for an array of each input."""
        with self._lock, self._turn(arrays):
            buffers = self._ready(arrays)
            for source, array in zip(buffers.sources, arrays, strict=True):
                source.update_inplace(array)
            buffers.session.run_with_iobinding(buffers.binding, buffers.options)
            return [np.array(result.numpy()) for result in buffers.results]

    def time(self, arrays: Sequence[Array]) -> Times:
        """Return how long the parts of an inference took. Each of the three calls waits for the GPU."""
        clock = time.perf_counter
        with self._lock, self._turn(arrays):
            buffers = self._ready(arrays)
            moments = [clock()]
            for source, array in zip(buffers.sources, arrays, strict=True):
                source.update_inplace(array)
            moments.append(clock())
            buffers.session.run_with_iobinding(buffers.binding, buffers.options)
            moments.append(clock())
            for result in buffers.results:
                np.array(result.numpy())
            moments.append(clock())
        copy_in, device, copy_out = (later - earlier for earlier, later in itertools.pairwise(moments))
        return Times(moments[-1] - moments[0], copy_in, device, copy_out)

    def _turn(self, arrays: Sequence[Array]) -> AbstractContextManager[None]:
        """Return the turn of a call: alone for shapes whose kernels are captured now, else beside others."""
        new = tuple([array.shape for array in arrays]) not in self._buffers
        return TURNS.alone() if new and self._another is not None else TURNS.shared()

    def _ready(self, arrays: Sequence[Array]) -> _Buffers:
        """Return the buffers of some shapes; they are made when these are first met."""
        shapes = tuple([array.shape for array in arrays])
        found = self._buffers.get(shapes)
        if found is None:
            self._make_room()
            found = self._buffers[shapes] = self._bind(self._session_of_its_own(), arrays)
        return found

    def _make_room(self) -> None:
        """Forget a shape that has no graph, once there are too many; a captured one is worth its memory."""
        plain = [shape for shape, buffers in self._buffers.items() if buffers.session is self._plain]
        if len(self._buffers) >= _MOST_SHAPES and plain:
            del self._buffers[plain[0]]

    def _session_of_its_own(self) -> Any:
        """Return a session in which a new shape is captured; the plain one where there are enough of them."""
        if self._another is not None and self._captured < _MOST_GRAPHS:
            self._captured += 1
            return self._waiting.pop() if self._waiting else self._another(True)
        if self._plain is None:
            assert self._another is not None
            self._plain = self._another(False)
        return self._plain

    def _bind(self, session: Any, arrays: Sequence[Array]) -> _Buffers:
        values = self._ort.OrtValue
        binding = session.io_binding()
        sources, results = [], []
        for spec, array in zip(self._inputs, arrays, strict=True):
            # In the CPU's memory it would be the caller's array itself.
            sources.append(values.ortvalue_from_numpy(array.copy(), self._device, 0))
            binding.bind_ortvalue_input(spec.name, sources[-1])
        sizes = _free_sizes(self._inputs, [array.shape for array in arrays])
        for spec in self._outputs:
            shape = [sizes[size] if isinstance(size, str) else size for size in spec.shape]
            kind = np.dtype(spec.dtype).type
            results.append(values.ortvalue_from_shape_and_type(shape, kind, self._device, 0))
            binding.bind_ortvalue_output(spec.name, results[-1])
        return _Buffers(session, binding, sources, results, self._ort.RunOptions())


def bindable(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> bool:
    """Return whether the shapes of the inputs tell those of all outputs, which can be bound before then."""
    known = {size for spec in inputs for size in spec.shape if isinstance(size, str)}
    return all(
        bool(spec.shape)
        and spec.dtype in _BINDABLE
        and all(isinstance(size, int) or size in known for size in spec.shape)
        for spec in outputs
    )


def _free_sizes(inputs: Sequence[TensorSpec], shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
    """Return what the sizes are now that inputs leave free, by the names that outputs call them by too."""
    return {
        name: size
        for spec, shape in zip(inputs, shapes, strict=True)
        for name, size in zip(spec.shape, shape, strict=True)
        if isinstance(name, str)
    }
