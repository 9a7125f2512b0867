"""ONNX Runtime on a GPU: inputs and outputs stay in place there, and CUDA graphs replay the kernels."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Array
from edgecnn.runtime.times import Times

#: Shapes whose buffers are kept; an engine that sees more of them starts over.
_MOST_SHAPES = 8
#: Shapes that get a CUDA graph. Each holds the network's weights once more.
_MOST_GRAPHS = 4


@dataclass(frozen=True)
class _Buffers:
    session: Any
    binding: Any
    source: Any
    result: Any
    options: Any


class BoundSession:
    """Runs a session on buffers of its own, one caller at a time.

    A copy goes in and a copy comes out, through memory that was allocated once; with a CUDA graph the
    kernels between them are started as one. Each shape of input has its buffers, and its graph, in a
    session of its own: a session that runs another shape frees what a captured graph still reads, which
    answers wrongly then, or crashes (ONNX Runtime 1.31).
    """

    def __init__(
        self,
        session: Any,
        device: str,
        output: tuple[str, int],
        another: Callable[[bool], Any] | None = None,
    ) -> None:
        """Bind a session's one output, by name and number of classes.

        `another` opens the same network once more, with a CUDA graph or without. None: `session` captures
        no graph, and runs every shape.
        """
        self._ort = require("onnxruntime", "running an ONNX file")
        self._device = device
        self._output, self._classes = output
        self._another = another
        #: Whose kernels are captured, each for one shape; the first is opened before any shape is known.
        self._waiting, self._captured = ([session], 0) if another else ([], 0)
        #: Runs the shapes that are not captured.
        self._plain = None if another else session
        self._buffers: dict[tuple[int, ...], _Buffers] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str, array: Array) -> Array:
        """Return the output, (N, classes), for one input by name."""
        with self._lock:
            buffers = self._ready(name, array)
            buffers.source.update_inplace(array)
            buffers.session.run_with_iobinding(buffers.binding, buffers.options)
            return np.array(buffers.result.numpy())

    def time(self, name: str, array: Array) -> Times:
        """Return how long the parts of an inference took. Each of the three calls waits for the GPU."""
        clock = time.perf_counter
        with self._lock:
            buffers = self._ready(name, array)
            moments = [clock()]
            buffers.source.update_inplace(array)
            moments.append(clock())
            buffers.session.run_with_iobinding(buffers.binding, buffers.options)
            moments.append(clock())
            np.array(buffers.result.numpy())
            moments.append(clock())
        copy_in, device, copy_out = (later - earlier for earlier, later in itertools.pairwise(moments))
        return Times(moments[-1] - moments[0], copy_in, device, copy_out)

    def _ready(self, name: str, array: Array) -> _Buffers:
        """Return the buffers of a shape; they are made when it is first met."""
        found = self._buffers.get(array.shape)
        if found is None:
            self._make_room()
            found = self._buffers[array.shape] = self._bind(self._session_of_its_own(), name, array)
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

    def _bind(self, session: Any, name: str, array: Array) -> _Buffers:
        values = self._ort.OrtValue
        # In the CPU's memory it would be the caller's array itself.
        source = values.ortvalue_from_numpy(array.copy(), self._device, 0)
        result = values.ortvalue_from_shape_and_type([len(array), self._classes], np.float32, self._device, 0)
        binding = session.io_binding()
        binding.bind_ortvalue_input(name, source)
        binding.bind_ortvalue_output(self._output, result)
        return _Buffers(session, binding, source, result, self._ort.RunOptions())
