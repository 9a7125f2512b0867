"""ONNX Runtime on a GPU: inputs and outputs stay in place there, and CUDA graphs replay the kernels."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Array
from edgecnn.runtime.times import Times

#: Shapes whose buffers are kept; an engine that sees more of them starts over.
_MOST_SHAPES = 8


@dataclass(frozen=True)
class _Buffers:
    binding: Any
    source: Any
    result: Any
    options: Any


class BoundSession:
    """Runs a session on buffers of its own, one caller at a time.

    A copy goes in and a copy comes out, through memory that was allocated once; with a CUDA graph the
    kernels between them are started as one. Each shape of input has its buffers, and its graph.
    """

    def __init__(self, session: Any, device: str, output: tuple[str, int], *, graph: bool) -> None:
        self._ort = require("onnxruntime", "running an ONNX file")
        self._session = session
        self._device = device
        self._output, self._classes = output
        self._graph = graph
        self._buffers: dict[tuple[int, ...], _Buffers] = {}
        self._captured = 0
        self._lock = threading.Lock()

    def __call__(self, name: str, array: Array) -> Array:
        """Return the output, (N, classes), for one input by name."""
        with self._lock:
            buffers = self._ready(name, array)
            buffers.source.update_inplace(array)
            self._session.run_with_iobinding(buffers.binding, buffers.options)
            return np.array(buffers.result.numpy())

    def time(self, name: str, array: Array) -> Times:
        """Return how long the parts of an inference took. Each of the three calls waits for the GPU."""
        clock = time.perf_counter
        with self._lock:
            buffers = self._ready(name, array)
            moments = [clock()]
            buffers.source.update_inplace(array)
            moments.append(clock())
            self._session.run_with_iobinding(buffers.binding, buffers.options)
            moments.append(clock())
            np.array(buffers.result.numpy())
            moments.append(clock())
        copy_in, device, copy_out = (later - earlier for earlier, later in itertools.pairwise(moments))
        return Times(moments[-1] - moments[0], copy_in, device, copy_out)

    def _ready(self, name: str, array: Array) -> _Buffers:
        """Return the buffers of a shape; they are made when it is first met."""
        found = self._buffers.get(array.shape)
        if found is None:
            if len(self._buffers) == _MOST_SHAPES:
                self._buffers.clear()
            found = self._buffers[array.shape] = self._bind(name, array)
        return found

    def _bind(self, name: str, array: Array) -> _Buffers:
        values = self._ort.OrtValue
        # In the CPU's memory it would be the caller's array itself.
        source = values.ortvalue_from_numpy(array.copy(), self._device, 0)
        result = values.ortvalue_from_shape_and_type([len(array), self._classes], np.float32, self._device, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(name, source)
        binding.bind_ortvalue_output(self._output, result)
        options = self._ort.RunOptions()
        if self._graph:
            # A graph belongs to the addresses that it was captured with: no number is used twice.
            self._captured += 1
            options.add_run_config_entry("gpu_graph_id", str(self._captured))
        return _Buffers(binding, source, result, options)
