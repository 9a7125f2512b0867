"""The engine of TensorRT and TensorRT-RTX. Needs the library and NVIDIA's driver, nothing else."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecnn import files
from edgecnn.artifact import EngineRecord, Manifest, TensorSpec
from edgecnn.backends import BACKENDS, Backend
from edgecnn.errors import ArtifactError, EdgecnnWarning, EngineError, InvalidValueError
from edgecnn.runtime import compatibility
from edgecnn.runtime.compatibility import library_version
from edgecnn.runtime.cuda import Device
from edgecnn.runtime.engine import Array, Engine
from edgecnn.runtime.engine_inputs import Inputs, known_layout, layout_of
from edgecnn.runtime.tensorrt_context import Context, Shapes, Tensor
from edgecnn.runtime.tensorrt_inspector import clock as layer_clock
from edgecnn.runtime.tensorrt_inspector import layers
from edgecnn.runtime.tensorrt_kernels import Kernels
from edgecnn.runtime.tensorrt_library import Library, sizes
from edgecnn.runtime.times import Times

if TYPE_CHECKING:
    import tensorrt

#: Most execution contexts of one engine: each has its memory, and more do not make one GPU faster.
CONTEXTS = 4


class TensorRtEngine(Engine):
    """Runs what `edgecnn compile` built with TensorRT or TensorRT-RTX, on GPU 0 of those that are visible.

    Threads share up to `CONTEXTS` execution contexts, each for inputs of one set of shapes. Kernels are
    launched as one CUDA graph where that can be; inputs and outputs pass through page-locked memory, on an
    integrated GPU without copies.
    """

    def __init__(
        self, path: Path, manifest: Manifest | None, *, device: str = "auto", threads: int = 0
    ) -> None:
        if manifest is None or manifest.engine is None:
            raise ArtifactError(f"{path} has no record of its build", hint="edgecnn compile m.onnx")
        if device not in ("auto", "cuda"):
            raise InvalidValueError(
                f"{path.name} runs on an NVIDIA GPU, not on {device!r}", hint="auto, cuda"
            )
        self.backend = manifest.engine.backend
        self.device = "cuda"
        self.threads = 0  # the processor only waits
        #: Whether inferences are launched as CUDA graphs. May be set at any time.
        self.cuda_graph = True
        #: Why they are not although `cuda_graph` is set, or "".
        self.cuda_graph_refused = ""
        self._library = Library(BACKENDS.get(self.backend))
        self._gpu = Device()
        self._listening = contextlib.ExitStack()
        self._messages = self._listening.enter_context(self._library.log.listen())
        with self._gpu.current():
            self._runtime, self._engine = self._deserialize(path, manifest.engine)
            # TensorRT's engines hold their kernels.
            compiles = self._library.backend.name == "tensorrt-rtx"
            self._kernels = Kernels(self._library, self._engine, files.sha256(path)) if compiles else None
        self._inputs, self._outputs = _tensors(self._engine, self._library)
        batches = _batches(self._engine, self._inputs[0])
        inputs = [_input_spec(tensor, manifest) for tensor in self._inputs]
        super().__init__(path, manifest, inputs, [_output_spec(tensor) for tensor in self._outputs])
        self.batches = batches
        self._changed = threading.Condition()
        self._idle: list[Context] = []
        self._open = 0

    @classmethod
    def here(cls, backend: Backend) -> dict[str, str]:
        """Return the GPU's compute capability and the library's version."""
        version = library_version(backend)
        try:
            capability = Device().compute_capability
        except EngineError as error:
            capability = f"none: {error}"
        return {"compute capability": capability, backend.title: version}

    @property
    def launches_graph(self) -> bool:
        """Whether inferences are launched as CUDA graphs; known once one has been tried."""
        return self.cuda_graph and not self.cuda_graph_refused

    def time(self, inputs: Inputs) -> Times:
        """Run a batch that the engine takes, and return how long its parts took. Raises as calling does."""
        arrays = [np.asarray(array, order="C") for array in self.check(inputs)]
        with self._lease(_shapes(arrays)) as context:
            return context.time(arrays, graph=self.cuda_graph)

    def layers(self) -> list[dict[str, Any]]:
        """Return what the library's inspector says of each layer; as much as the engine was built to tell."""
        kind: Any = self._library.trt.LayerInformationFormat
        return layers(self._engine.create_engine_inspector().get_engine_information(kind.ONELINE)) or []

    @contextlib.contextmanager
    def profiled(self, inputs: Inputs) -> Iterator[Callable[[Inputs], dict[str, float]]]:
        """Yield a function that runs inputs of these shapes, and returns each layer's seconds by its name.

        The library's profiler tells them. It waits after each inference, and knows no CUDA graph.
        """
        clock = layer_clock(self._library.trt)
        with self._gpu.current():
            context = self._context(_shapes(self.check(inputs)), clock)

        def run(inputs: Inputs) -> dict[str, float]:
            arrays = [np.asarray(array, order="C") for array in self.check(inputs)]
            clock.seconds = {}
            with self._gpu.current():
                context.run(arrays, graph=False)
            return dict(clock.seconds)

        try:
            yield run
        finally:
            with self._gpu.current():
                context.close()

    def _infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        with self._lease(_shapes(inputs)) as context:
            return context.run(inputs, graph=self.cuda_graph)

    def _deserialize(self, path: Path, record: EngineRecord) -> tuple[tensorrt.Runtime, tensorrt.ICudaEngine]:
        runtime: tensorrt.Runtime = self._library.trt.Runtime(self._library.log)
        if record.flags.get("version_compatible"):
            # Such a file brings the runtime that it needs as machine code; its hash has been checked.
            runtime.engine_host_code_allowed = True
        if record.flags.get("dla") is not None:
            runtime.DLA_core = record.flags["dla"]
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise EngineError(
                f"{self._library} refuses {path.name}: {self._messages}",
                hint=compatibility.rebuild_command(path, record),
            )
        return runtime, engine

    def _context(self, shapes: Shapes, profiler: Any = None) -> Context:
        return Context(
            *(self._library, self._engine, self._gpu, self._inputs, self._outputs, shapes, self._messages),
            kernels=self._kernels,
            profiler=profiler,
        )

    @contextlib.contextmanager
    def _lease(self, shapes: Shapes) -> Iterator[Context]:
        """Give the calling thread a context for inputs of these shapes; it waits while all are in use."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._idle or self._open < CONTEXTS)
            if self._closed:
                raise self._is_closed()
            fitting = [context for context in self._idle if context.shapes == shapes]
            found = fitting[-1] if fitting else None
            # One that has not been used for long makes room for other shapes.
            outdated = self._idle[0] if found is None and self._open >= CONTEXTS else None
            for taken in (found, outdated):
                if taken is not None:
                    self._idle.remove(taken)
            self._open += found is None and outdated is None
        with self._gpu.current():
            try:
                if outdated is not None:
                    outdated.close()
                context = found or self._context(shapes)
            except BaseException:
                self._give_back(None)
                raise
            try:
                yield context
            except BaseException:
                context.close()  # what failed may be left half done
                self._give_back(None)
                raise
            self._tell(context)
            self._give_back(context)

    def _give_back(self, context: Context | None) -> None:
        with self._changed:
            if context is not None and self._closed:
                context.close()
                context = None
            if context is None:
                self._open -= 1
            else:
                self._idle.append(context)
            self._changed.notify()

    def _tell(self, context: Context) -> None:
        if context.graph_refused and not self.cuda_graph_refused:
            self.cuda_graph_refused = context.graph_refused
            warnings.warn(
                f"{self.path.name} runs without a CUDA graph: {context.graph_refused}",
                EdgecnnWarning,
                stacklevel=4,
            )

    def _release(self) -> None:
        with self._changed, self._gpu.current():
            for context in self._idle:
                context.close()
            self._open -= len(self._idle)
            self._idle.clear()
            self._changed.notify_all()
            # An inference that another thread is still in keeps the library's objects alive by itself.
            del self._kernels, self._engine, self._runtime
        self._listening.close()


def _tensors(engine: tensorrt.ICudaEngine, library: Library) -> tuple[list[Tensor], list[Tensor]]:
    """Return the inputs and the outputs, in the library's order."""
    trt: Any = library.trt
    found: dict[Any, list[Tensor]] = {trt.TensorIOMode.INPUT: [], trt.TensorIOMode.OUTPUT: []}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        shape = sizes(engine.get_tensor_shape(name))
        found[engine.get_tensor_mode(name)].append(Tensor(name, shape, dtype))
    inputs, outputs = found.values()
    return inputs, outputs


def _input_spec(tensor: Tensor, manifest: Manifest) -> TensorSpec:
    source = next((spec for spec in manifest.inputs if spec.name == tensor.name), manifest.inputs[0])
    names = source.shape if len(source.shape) == len(tensor.shape) else ()
    shape = tuple(
        size if size >= 0 else str(names[axis]) if names else f"size{axis}"
        for axis, size in enumerate(tensor.shape)
    )
    return TensorSpec(tensor.name, shape, str(tensor.dtype), known_layout(tensor.name, shape, manifest))


def _output_spec(tensor: Tensor) -> TensorSpec:
    shape = tuple(size if size >= 0 else f"any{axis}" for axis, size in enumerate(tensor.shape))
    return TensorSpec(tensor.name, shape, str(tensor.dtype), layout_of(shape))


def _shapes(arrays: Sequence[Array]) -> Shapes:
    return tuple([array.shape for array in arrays])


def _batches(engine: tensorrt.ICudaEngine, first: Tensor) -> tuple[int, int]:
    if not first.shape or first.shape[0] >= 0:
        fixed = first.shape[0] if first.shape else 1
        return fixed, fixed
    least, _, most = engine.get_tensor_profile_shape(first.name, 0)
    return int(least[0]), int(most[0])
