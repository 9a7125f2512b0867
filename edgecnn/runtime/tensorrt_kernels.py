"""The kernels that TensorRT-RTX compiles for a GPU when it meets an engine, kept for the next time."""

from __future__ import annotations

import hashlib
import threading
import warnings
from typing import TYPE_CHECKING, Any

from edgecnn import files
from edgecnn.errors import EdgecnnWarning, EngineError, OutputError
from edgecnn.runtime.tensorrt_library import Library

if TYPE_CHECKING:
    import tensorrt


class Kernels:
    """Compiled kernels of one engine, in `$XDG_CACHE_HOME/edgecnn/kernels` by the engine's content.

    The library refuses kernels of another kind of GPU or a later version; they are then replaced.
    """

    def __init__(self, library: Library, engine: tensorrt.ICudaEngine, sha256: str) -> None:
        self._library = library
        self._engine: Any = engine
        self._path = files.cache_folder() / "kernels" / sha256
        config: Any = self._engine.create_runtime_config()
        self._cache = config.create_runtime_cache()
        self._lock = threading.Lock()
        self._kept = ""
        self._writable = True
        try:
            content = self._path.read_bytes()
        except OSError:
            return
        if self._cache.deserialize(content):
            self._kept = hashlib.sha256(content).hexdigest()

    def execution_context(self) -> tensorrt.IExecutionContext:
        """Return a context that takes its kernels from here, and adds those that it has to compile."""
        config: Any = self._engine.create_runtime_config()
        # By default it compiles for a new shape while slower kernels already run: latencies would change by
        # themselves, and a graph would keep the slow ones.
        strategies = self._library.trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        if not config.set_runtime_cache(self._cache):
            raise EngineError(f"{self._library} takes no cache of kernels")
        context: tensorrt.IExecutionContext = self._engine.create_execution_context(config)
        return context

    def keep(self) -> None:
        """Write what was compiled since the last time. Where it cannot be written that is said once."""
        with self._lock:
            content = bytes(self._cache.serialize())
            digest = hashlib.sha256(content).hexdigest()
            if digest == self._kept or not self._writable:
                return
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                files.write_atomic(self._path, content)
            except (OSError, OutputError) as error:
                self._writable = False
                warnings.warn(
                    f"compiled kernels are not kept, and will be compiled again: {error}",
                    EdgecnnWarning,
                    stacklevel=2,
                )
            self._kept = digest
