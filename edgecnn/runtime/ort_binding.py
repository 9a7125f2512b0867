"""ONNX Runtime on a GPU: inputs and outputs stay in place there, and CUDA graphs replay the kernels."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecnn.artifact import TensorSpec
from edgecnn.optional_packages import require
from edgecnn.runtime.engine import Array
from edgecnn.runtime.times import Times

#: Shapes whose buffers are kept; an engine that sees more of them starts over.
_MOST_SHAPES = 8


@dataclass(frozen=True)
class _Buffers:
    binding: Any
    sources: list[Any]
    #: One for each output; None for one whose shape only an inference tells, which the library allocates.
    results: list[Any]
    options: Any


class BoundSession:
    """Runs a session on buffers of its own, one caller at a time.

    A copy goes in and a copy comes out, through memory that was allocated once; with a CUDA graph the
    kernels between them are started as one. Each shape of inputs has its buffers, and its graph.
    """

    def __init__(
        self,
        session: Any,
        device: str,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        graph: bool = False,
    ) -> None:
        self._ort = require("onnxruntime", "running an ONNX file")
        self._session = session
        self._device = device
        self._inputs, self._outputs = inputs, outputs
        #: Whether the session captures a CUDA graph.
        self.graph = graph
        self._buffers: dict[tuple[tuple[int, ...], ...], _Buffers] = {}
        self._captured = 0
        self._lock = threading.Lock()

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Return the outputs for an array of each input."""
        with self._lock:
            buffers = self._ready(arrays)
            for source, array in zip(buffers.sources, arrays, strict=True):
                source.update_inplace(array)
            self._session.run_with_iobinding(buffers.binding, buffers.options)
            return self._results(buffers)

    def time(self, arrays: Sequence[Array]) -> Times:
        """Return how long the parts of an inference took. Each of the three calls waits for the GPU."""
        clock = time.perf_counter
        with self._lock:
            buffers = self._ready(arrays)
            moments = [clock()]
            for source, array in zip(buffers.sources, arrays, strict=True):
                source.update_inplace(array)
            moments.append(clock())
            self._session.run_with_iobinding(buffers.binding, buffers.options)
            moments.append(clock())
            self._results(buffers)
            moments.append(clock())
        copy_in, device, copy_out = (later - earlier for earlier, later in itertools.pairwise(moments))
        return Times(moments[-1] - moments[0], copy_in, device, copy_out)

    def _results(self, buffers: _Buffers) -> list[Array]:
        if None not in buffers.results:
            return [np.array(result.numpy()) for result in buffers.results]
        return [np.array(value.numpy()) for value in buffers.binding.get_outputs()]

    def _ready(self, arrays: Sequence[Array]) -> _Buffers:
        """Return the buffers of some shapes; they are made when these are first met."""
        shapes = tuple(array.shape for array in arrays)
        found = self._buffers.get(shapes)
        if found is None:
            if len(self._buffers) == _MOST_SHAPES:
                self._buffers.clear()
            found = self._buffers[shapes] = self._bind(arrays)
        return found

    def _bind(self, arrays: Sequence[Array]) -> _Buffers:
        values = self._ort.OrtValue
        binding = self._session.io_binding()
        sources = []
        for spec, array in zip(self._inputs, arrays, strict=True):
            # In the CPU's memory it would be the caller's array itself.
            sources.append(values.ortvalue_from_numpy(array.copy(), self._device, 0))
            binding.bind_ortvalue_input(spec.name, sources[-1])
        known = self._known_sizes(arrays)
        results: list[Any] = []
        for spec in self._outputs:
            shape = [known.get(size) if isinstance(size, str) else size for size in spec.shape]
            if None in shape:
                results.append(None)
                binding.bind_output(spec.name, self._device)
            else:
                kind = np.dtype(spec.dtype).type
                results.append(values.ortvalue_from_shape_and_type(shape, kind, self._device, 0))
                binding.bind_ortvalue_output(spec.name, results[-1])
        options = self._ort.RunOptions()
        if self.graph:
            # A graph belongs to the addresses that it was captured with: no number is used twice.
            self._captured += 1
            options.add_run_config_entry("gpu_graph_id", str(self._captured))
        return _Buffers(binding, sources, results, options)

    def _known_sizes(self, arrays: Sequence[Array]) -> dict[int | str, int]:
        """Return what the free sizes of the inputs are, by the names that outputs call them by too."""
        return {
            name: size
            for spec, array in zip(self._inputs, arrays, strict=True)
            for name, size in zip(spec.shape, array.shape, strict=True)
            if isinstance(name, str)
        }
