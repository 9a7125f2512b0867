"""One execution context of a TensorRT engine: buffers, a stream, and a CUDA graph, for one batch size."""

from __future__ import annotations

import contextlib
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EngineError
from edgecnn.runtime.cuda import Buffer, Device, Event, Graph, Stream
from edgecnn.runtime.tensorrt_kernels import Kernels
from edgecnn.runtime.tensorrt_library import Library, Messages
from edgecnn.runtime.times import Times

if TYPE_CHECKING:
    import tensorrt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """The input or the output of an engine."""

    name: str
    #: With -1 for a batch that is free.
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Context:
    """Runs one batch size, for one thread at a time; the GPU's context must be current.

    One size, because a captured graph is valid only while its execution context is not changed (TensorRT
    developer guide, CUDA Graphs), and a new shape is a change.
    """

    def __init__(
        self,
        library: Library,
        engine: tensorrt.ICudaEngine,
        device: Device,
        tensors: tuple[Tensor, Tensor],
        batch: int,
        messages: Messages,
        *,
        kernels: Kernels | None = None,
        profiler: Any = None,
    ) -> None:
        self.batch = batch
        self._messages = messages
        self._resources = contextlib.ExitStack()
        self._graph: Graph | None = None
        #: Why there is no graph, once one has been tried.
        self.graph_refused = ""
        with contextlib.ExitStack() as made:
            opened = engine.create_execution_context if kernels is None else kernels.execution_context
            self._context = opened()
            if self._context is None:
                raise EngineError(f"{library} opens no execution context: {messages}", hint="nvidia-smi")
            if profiler is not None:
                self._context.profiler = profiler
            self._stream = made.enter_context(contextlib.closing(Stream()))
            self._shapes = []
            buffers = []
            for tensor in tensors:
                shape = (batch, *tensor.shape[1:])
                buffer = Buffer(int(np.prod(shape)), tensor.dtype, shared=device.integrated)
                made.callback(buffer.close)
                buffers.append(buffer)
                self._shapes.append(shape)
                self._context.set_tensor_address(tensor.name, buffer.address)
            self._input, self._output = buffers
            if not self._context.set_input_shape(tensors[0].name, self._shapes[0]):
                raise EngineError(f"{library} refuses {batch} images at a time: {messages}")
            self._events = [made.enter_context(contextlib.closing(Event())) for _ in range(4)]
            made.callback(self._finish)  # before the buffers go
            # Before the first capture the library must have run once: it decides and loads things then.
            self._enqueue()
            self._stream.synchronize()
            if kernels is not None:
                kernels.keep()
            self._resources = made.pop_all()

    def run(self, array: Array, *, graph: bool) -> Array:
        """Return the logits of a batch, a float32 array of its own."""
        self._prepare(graph)
        self._load(array)
        self._input.to_device(array.size, self._stream)
        self._launch(graph)
        self._output.to_host(self._output.array.size, self._stream)
        self._stream.synchronize()
        return self._logits()

    def time(self, array: Array, *, graph: bool) -> Times:
        """Run a batch and return how long its parts took."""
        self._prepare(graph)
        start = time.perf_counter()
        self._load(array)
        events = self._events
        events[0].record(self._stream)
        self._input.to_device(array.size, self._stream)
        events[1].record(self._stream)
        self._launch(graph)
        events[2].record(self._stream)
        self._output.to_host(self._output.array.size, self._stream)
        events[3].record(self._stream)
        self._stream.synchronize()
        self._logits()
        host = time.perf_counter() - start
        copy_in, device, copy_out = (
            later.seconds_since(earlier) for earlier, later in itertools.pairwise(events)
        )
        return Times(host, copy_in, device, copy_out)

    def _load(self, array: Array) -> None:
        np.copyto(self._input.array.reshape(self._shapes[0]), array)

    def _logits(self) -> Array:
        return self._output.array.reshape(self._shapes[1]).astype(np.float32)

    def _launch(self, graph: bool) -> None:
        if graph and self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._enqueue()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.handle.value or 0):
            raise EngineError(f"TensorRT fails: {self._messages}", hint="nvidia-smi")

    def _prepare(self, graph: bool) -> None:
        if not graph or self._graph is not None or self.graph_refused:
            return
        # TensorRT-RTX says beforehand what it cannot do.
        capturable: Any = getattr(self._context, "is_stream_capturable", lambda stream: True)
        try:
            if not capturable(self._stream.handle.value or 0):
                raise EngineError("the library cannot run this engine in a CUDA graph")
            self._graph = self._capture()
        except EngineError as error:
            self.graph_refused = str(error)
            return
        self._resources.callback(self._graph.close)

    def _capture(self) -> Graph:
        self._stream.begin_capture()
        try:
            self._enqueue()
        except EngineError:
            # A stream that is left capturing could never be used again.
            with contextlib.suppress(EngineError):
                self._stream.end_capture().close()
            raise
        return self._stream.end_capture()

    def _finish(self) -> None:
        # After a failure work may still be queued that uses the buffers; a second failure says nothing new.
        with contextlib.suppress(EngineError):
            self._stream.synchronize()

    def close(self) -> None:
        """Free everything; the library's own part is freed with the object."""
        self._resources.close()
        del self._context
