"""A thin binding of CUDA's driver library, for engines that leave memory and streams to their caller.

The driver library (libcuda) comes with every NVIDIA driver, on Jetson boards too, and its calls have not
changed since CUDA 11.4; the runtime library (libcudart) is a package of its own, of which versions differ.
Both share one context per GPU, the primary one, so that this works beside TensorRT and PyTorch.

Source of names and numbers: NVIDIA, CUDA Driver API reference.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import re
from collections.abc import Iterator
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.errors import EngineError

#: What the dynamic linker is asked for.
LIBRARY = "libcuda.so.1"
_DRIVER_VERSION = Path("/proc/driver/nvidia/version")

# CUdevice_attribute
_INTEGRATED, _CAN_MAP_HOST_MEMORY, _MAJOR, _MINOR = 18, 19, 75, 76
# CUmemhostalloc_flags
_PORTABLE, _DEVICE_MAPPED = 1, 2
_NON_BLOCKING = 1  # CUstream_flags
_THREAD_LOCAL = 1  # CUstreamCaptureMode: other threads may allocate meanwhile

_HANDLE = POINTER(c_void_p)
#: Arguments of each function that is used. All return a CUresult, 0 for success.
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (_HANDLE, c_int),
    "cuCtxPushCurrent_v2": (c_void_p,),
    "cuCtxPopCurrent_v2": (_HANDLE,),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemHostAlloc": (_HANDLE, c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemHostGetDevicePointer_v2": (POINTER(c_uint64), c_void_p, c_uint),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuStreamCreate": (_HANDLE, c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, _HANDLE),
    "cuGraphInstantiateWithFlags": (_HANDLE, c_void_p, c_uint64),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphExecDestroy": (c_void_p,),
    "cuEventCreate": (_HANDLE, c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuEventDestroy_v2": (c_void_p,),
}


@functools.cache
def _driver(name: str) -> ctypes.CDLL:
    """Return the driver library, initialized; raises EngineError where there is none, or no GPU."""
    try:
        library = ctypes.CDLL(name)
        for function, arguments in _SIGNATURES.items():
            getattr(library, function).argtypes = arguments
    except (OSError, AttributeError) as error:
        raise EngineError(
            f"there is no NVIDIA GPU, or no driver for it: {error}",
            hint="install NVIDIA's driver; edgecnn doctor shows what is found",
        ) from error
    code = library.cuInit(0)
    if code:
        raise EngineError(f"the NVIDIA GPU does not answer: {_reason(library, code)}", hint="nvidia-smi")
    return library


def _reason(library: ctypes.CDLL, code: int) -> str:
    text = c_char_p()
    library.cuGetErrorString(code, byref(text))
    return f"{(text.value or b'unknown error').decode(errors='replace')} (CUDA error {code})"


def call(function: str, *arguments: Any) -> None:
    """Call a function of the driver library; raises EngineError with CUDA's own text."""
    library = _driver(LIBRARY)
    code = getattr(library, function)(*arguments)
    if code:
        raise EngineError(f"CUDA fails in {function}: {_reason(library, code)}", hint="nvidia-smi")


class Device:
    """A GPU, number 0 of those that CUDA_VISIBLE_DEVICES leaves, and its primary context.

    Raises EngineError where there is none. The context is made when first needed, and stays until the
    process ends: others use it too.
    """

    def __init__(self) -> None:
        count, handle = c_int(), c_int()
        call("cuDeviceGetCount", byref(count))
        if not count.value:
            raise EngineError("there is no NVIDIA GPU", hint="edgecnn doctor")
        call("cuDeviceGet", byref(handle), 0)
        self._handle = handle.value
        name = ctypes.create_string_buffer(256)
        call("cuDeviceGetName", name, len(name), self._handle)
        self.name = name.value.decode(errors="replace")
        #: As "8.9".
        self.compute_capability = f"{self._attribute(_MAJOR)}.{self._attribute(_MINOR)}"
        #: Whether it shares the processor's memory and reads it in place, as on Jetson boards.
        self.integrated = bool(self._attribute(_INTEGRATED) and self._attribute(_CAN_MAP_HOST_MEMORY))

    def _attribute(self, number: int) -> int:
        value = c_int()
        call("cuDeviceGetAttribute", byref(value), number, self._handle)
        return value.value

    @functools.cached_property
    def _context(self) -> c_void_p:
        context = c_void_p()
        call("cuDevicePrimaryCtxRetain", byref(context), self._handle)
        return context

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make this GPU's context the calling thread's; everything below needs it."""
        call("cuCtxPushCurrent_v2", self._context)
        try:
            yield
        finally:
            call("cuCtxPopCurrent_v2", byref(c_void_p()))

    def describe(self) -> dict[str, str]:
        """Return name, compute capability, driver and the CUDA version that the driver knows."""
        found = {"gpu": self.name, "compute capability": self.compute_capability, "CUDA": cuda_version()}
        driver = driver_version()
        return {**found, "driver": driver} if driver else found


def cuda_version() -> str:
    """Return the newest CUDA version that the driver knows, as "13.0"."""
    value = c_int()
    call("cuDriverGetVersion", byref(value))
    return f"{value.value // 1000}.{value.value % 1000 // 10}"


def driver_version() -> str:
    """Return the driver's version as its kernel module tells it, or "" where it does not (Jetson boards)."""
    try:
        found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", _DRIVER_VERSION.read_text(errors="replace"))
    except OSError:
        return ""
    return found.group() if found else ""


class Buffer:
    """Page-locked host memory, and the memory that the GPU uses for it.

    These are two places with copies between them; on an integrated GPU they are one, and a copy is nothing.
    """

    def __init__(self, count: int, dtype: np.dtype[Any], *, shared: bool) -> None:
        size = count * dtype.itemsize
        self._host, self._device = c_void_p(), c_uint64()
        call("cuMemHostAlloc", byref(self._host), size, _PORTABLE | (_DEVICE_MAPPED if shared else 0))
        try:
            if shared:
                call("cuMemHostGetDevicePointer_v2", byref(self._device), self._host, 0)
            else:
                call("cuMemAlloc_v2", byref(self._device), size)
        except EngineError:
            call("cuMemFreeHost", self._host)
            raise
        self._shared = shared
        memory = (ctypes.c_uint8 * size).from_address(self._host.value or 0)
        #: The host's side, flat. Not to be used after `close`.
        self.array: npt.NDArray[Any] = np.frombuffer(memoryview(memory), dtype=dtype)

    @property
    def address(self) -> int:
        """Where the GPU sees it."""
        return self._device.value

    def to_device(self, count: int, stream: Stream) -> None:
        """Enqueue a copy of the first `count` values to the GPU."""
        if not self._shared:
            size = count * self.array.itemsize
            call("cuMemcpyHtoDAsync_v2", self._device, self._host, size, stream.handle)

    def to_host(self, count: int, stream: Stream) -> None:
        """Enqueue a copy of the first `count` values from the GPU."""
        if not self._shared:
            size = count * self.array.itemsize
            call("cuMemcpyDtoHAsync_v2", self._host, self._device, size, stream.handle)

    def close(self) -> None:
        """Free both sides."""
        if not self._shared:
            call("cuMemFree_v2", self._device)
        call("cuMemFreeHost", self._host)


class Stream:
    """A queue of work for the GPU."""

    def __init__(self) -> None:
        self.handle = c_void_p()
        call("cuStreamCreate", byref(self.handle), _NON_BLOCKING)

    def synchronize(self) -> None:
        """Wait until everything in it is done; raises EngineError for what failed on the GPU."""
        call("cuStreamSynchronize", self.handle)

    def begin_capture(self) -> None:
        """From now on collect what is enqueued, in place of running it."""
        call("cuStreamBeginCapture_v2", self.handle, _THREAD_LOCAL)

    def end_capture(self) -> Graph:
        """Return what was collected; raises EngineError if something could not be."""
        graph = c_void_p()
        call("cuStreamEndCapture", self.handle, byref(graph))
        return Graph(graph)

    def close(self) -> None:
        """Destroy it; what is still in it is finished first."""
        call("cuStreamDestroy_v2", self.handle)


class Graph:
    """Work that was captured from a stream, launched by one call."""

    def __init__(self, captured: c_void_p) -> None:
        self._handle = c_void_p()
        try:
            call("cuGraphInstantiateWithFlags", byref(self._handle), captured, 0)
        finally:
            call("cuGraphDestroy", captured)

    def launch(self, stream: Stream) -> None:
        """Enqueue all of it."""
        call("cuGraphLaunch", self._handle, stream.handle)

    def close(self) -> None:
        """Destroy it."""
        call("cuGraphExecDestroy", self._handle)


class Event:
    """A moment in a stream, on the GPU's clock."""

    def __init__(self) -> None:
        self._handle = c_void_p()
        call("cuEventCreate", byref(self._handle), 0)

    def record(self, stream: Stream) -> None:
        """Enqueue it: it happens when everything before it is done."""
        call("cuEventRecord", self._handle, stream.handle)

    def seconds_since(self, earlier: Event) -> float:
        """Return the time between two events that have happened; steps are half a microsecond."""
        value = c_float()
        call("cuEventElapsedTime", byref(value), earlier._handle, self._handle)
        return value.value / 1e3

    def close(self) -> None:
        """Destroy it."""
        call("cuEventDestroy_v2", self._handle)
