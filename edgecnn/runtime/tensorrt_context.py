"""One execution context of a TensorRT engine: buffers, a stream, and a CUDA graph, for one batch size."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EngineError
from edgecnn.runtime.cuda import Buffer, Device, Event, Graph, Stream
from edgecnn.runtime.tensorrt_kernels import Kernels
from edgecnn.runtime.tensorrt_library import Library, Messages, sizes
from edgecnn.runtime.times import Times

if TYPE_CHECKING:
    import tensorrt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """An input or output of an engine."""

    name: str
    #: With -1 for a size that is free.
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


Shape = tuple[int, ...]
#: The shape of each input.
Shapes = tuple[Shape, ...]


@dataclass(frozen=True)
class _Place:
    """A tensor's memory, and its shape."""

    buffer: Buffer
    shape: Shape

    def write(self, array: Array) -> None:
        np.copyto(self.buffer.array.reshape(self.shape), array)


class Context:
    """Runs inputs of one set of shapes, for one thread at a time; the GPU's context must be current.

    One set, because a captured graph is valid only while its execution context is not changed (TensorRT
    developer guide, CUDA Graphs), and a new shape is a change.
    """

    def __init__(
        self,
        library: Library,
        engine: tensorrt.ICudaEngine,
        device: Device,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        shapes: Shapes,
        messages: Messages,
        *,
        kernels: Kernels | None = None,
        profiler: Any = None,
    ) -> None:
        self.shapes = shapes
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
            shared = device.integrated
            self._inputs: list[_Place] = []
            for tensor, shape in zip(inputs, shapes, strict=True):
                self._inputs.append(self._place(made, tensor, shape, shared=shared))
                # A tensor of a shape that is built in takes it too.
                if not self._context.set_input_shape(tensor.name, shape):
                    taken = " x ".join(map(str, shape))
                    raise EngineError(f"{library} refuses {tensor.name!r} of {taken}: {messages}")
            self._outputs = [
                self._place(made, tensor, self._shape_now(tensor), shared=shared) for tensor in outputs
            ]
            self._events = [made.enter_context(contextlib.closing(Event())) for _ in range(4)]
            made.callback(self._finish)  # before the buffers go
            # Before the first capture the library must have run once: it decides and loads things then.
            self._enqueue()
            self._stream.synchronize()
            if kernels is not None:
                kernels.keep()
            self._resources = made.pop_all()

    def _place(self, made: contextlib.ExitStack, tensor: Tensor, shape: Shape, *, shared: bool) -> _Place:
        """Give a tensor its memory."""
        buffer = Buffer(int(np.prod(shape)), tensor.dtype, shared=shared)
        made.callback(buffer.close)
        self._context.set_tensor_address(tensor.name, buffer.address)
        return _Place(buffer, shape)

    def _shape_now(self, tensor: Tensor) -> Shape:
        """Return an output's shape for the inputs' that were set; raises EngineError if these do not tell."""
        shape = tensor.shape
        if any(size < 0 for size in shape):
            shape = sizes(self._context.get_tensor_shape(tensor.name))
        if any(size < 0 for size in shape):
            raise EngineError(
                f"the shape of the output {tensor.name!r} depends on what is seen",
                hint="export the network without picking boxes at its end",
            )
        return shape

    def run(self, arrays: Sequence[Array], *, graph: bool) -> list[Array]:
        """Return the outputs for an array of each input, each an array of its own."""
        self._prepare(graph)
        self._load(arrays)
        self._launch(graph)
        self._fetch()
        self._stream.synchronize()
        return self._results()

    def time(self, arrays: Sequence[Array], *, graph: bool) -> Times:
        """Run a batch and return how long its parts took."""
        self._prepare(graph)
        start = time.perf_counter()
        for place, array in zip(self._inputs, arrays, strict=True):
            place.write(array)
        events = self._events
        events[0].record(self._stream)
        for place in self._inputs:
            place.buffer.to_device(place.buffer.array.size, self._stream)
        events[1].record(self._stream)
        self._launch(graph)
        events[2].record(self._stream)
        self._fetch()
        events[3].record(self._stream)
        self._stream.synchronize()
        self._results()
        host = time.perf_counter() - start
        copy_in, device, copy_out = (
            later.seconds_since(earlier) for earlier, later in itertools.pairwise(events)
        )
        return Times(host, copy_in, device, copy_out)

    def _load(self, arrays: Sequence[Array]) -> None:
        for place, array in zip(self._inputs, arrays, strict=True):
            place.write(array)
            place.buffer.to_device(array.size, self._stream)

    def _fetch(self) -> None:
        for place in self._outputs:
            place.buffer.to_host(place.buffer.array.size, self._stream)

    def _results(self) -> list[Array]:
        return [place.buffer.array.reshape(place.shape).copy() for place in self._outputs]

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
