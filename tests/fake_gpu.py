"""A GPU that is none: CUDA's driver from fake_cuda.c, and a TensorRT whose kernels are ONNX Runtime's.

What these tests can show is that the calls are right and in order; how fast, and with which rounding, a GPU
computes, they cannot.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from fake_tensorrt_builder import Builder, Parser

from edgecnn.backends import BACKENDS
from edgecnn.runtime import cuda

_NUMPY = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32,
}  # fmt: skip
_KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: int) -> ctypes.CDLL:
    """Put the fake driver library in place of the real one."""
    library = folder / "libcuda.so.1"
    source = Path(__file__).with_name("fake_cuda.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-pthread", "-o", library, source], check=True)
    for name, value in {"GPUS": 1, **settings}.items():
        monkeypatch.setenv(f"FAKE_{name}", str(value))
    monkeypatch.setattr(cuda, "LIBRARY", str(library))
    fake = ctypes.CDLL(str(library))
    fake.fake_launch.argtypes = (ctypes.c_void_p, ctypes.c_void_p, _KERNEL, ctypes.c_void_p)
    fake.fake_capturing.argtypes = (ctypes.c_void_p,)
    return fake


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fake: ctypes.CDLL, backend: str, version: str
) -> ModuleType:
    """Put a fake library in place, as pip would: a module, and what its metadata says of its version.

    What it compiles is kept in a cache of its own, below `folder`.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    row = BACKENDS.get(backend)
    name = row.packages[0].replace("-", "_")
    information = folder / f"{name}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(folder))
    made = _module(row.library, fake, int(version.split(".")[0]), rtx=backend == "tensorrt-rtx")
    monkeypatch.setitem(sys.modules, row.library, made)
    return made


def _members(kind: str, *names: str) -> Any:
    return enum.IntEnum(kind, list(names), start=0)


def _module(name: str, fake: ctypes.CDLL, major: int, *, rtx: bool) -> ModuleType:
    trt: Any = ModuleType(name)
    typed = rtx or major > 10
    severity = _members("Severity", "INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
    trt.ILogger = type("ILogger", (), {"Severity": severity})
    trt.DataType = _members("DataType", "FLOAT", "HALF", "INT8", "INT32", "UINT8", "OTHER", "INT64")
    trt.TensorIOMode = _members("TensorIOMode", "INPUT", "OUTPUT")
    trt.LayerType = _members("LayerType", "QUANTIZE", "COMPUTE")
    trt.DeviceType = _members("DeviceType", "GPU", "DLA")
    trt.MemoryPoolType = _members("MemoryPoolType", "WORKSPACE")
    trt.ProfilingVerbosity = _members("ProfilingVerbosity", "DETAILED")
    trt.PreviewFeature = _members("PreviewFeature", "PROFILE_SHARING_0806")
    trt.OnnxParserFlag = _members("OnnxParserFlag", "NATIVE_INSTANCENORM")
    trt.HardwareCompatibilityLevel = _members("HardwareCompatibilityLevel", "NONE", "AMPERE_PLUS")
    by_type = () if typed else ("FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS")
    flags = ("VERSION_COMPATIBLE", "SPARSE_WEIGHTS", "GPU_FALLBACK", *by_type)
    trt.BuilderFlag = _members("BuilderFlag", *flags)
    kinds = {8: ("EXPLICIT_BATCH",), 10: ("EXPLICIT_BATCH", "STRONGLY_TYPED")}
    trt.NetworkDefinitionCreationFlag = _members("Flag", *kinds.get(major, ("STRONGLY_TYPED",)))
    if rtx:
        trt.ComputeCapability = _members("ComputeCapability", "NONE", "CURRENT", "SM86", "SM89")
        strategy = _members("Strategy", "LAZY", "EAGER")
        trt.DynamicShapesKernelSpecializationStrategy = strategy
    trt.LayerInformationFormat = _members("LayerInformationFormat", "ONELINE", "JSON")
    trt.IProfiler = type("IProfiler", (), {})
    trt.layer_times = []  # what profilers are told of each inference: names, milliseconds
    trt.layer_information = ""  # what inspectors say
    if major > 8 or rtx:
        trt.IProgressMonitor = type("IProgressMonitor", (), {})
    trt.Dims = tuple
    types = (np.float32, np.float16, np.int8, np.int32, np.uint8, None, np.int64)
    trt.nptype = lambda kind: types[int(kind)]
    trt.builds = []  # what the builders were told
    trt.strategies = []
    trt.compiled = []  # shapes that TensorRT-RTX had to compile kernels for
    trt.Builder = functools.partial(Builder, trt, major, rtx)
    trt.OnnxParser = functools.partial(Parser, trt)
    trt.Runtime = functools.partial(_Runtime, trt, fake)
    return trt


class _Runtime:
    def __init__(self, trt: Any, fake: ctypes.CDLL, log: Any) -> None:
        self._trt, self._fake, self._log = trt, fake, log
        self.engine_host_code_allowed = False
        self.DLA_core = -1

    def deserialize_cuda_engine(self, content: bytes) -> Any:
        try:
            return _Engine(self._trt, self._fake, json.loads(content))
        except ValueError:
            self._log.log(self._trt.ILogger.Severity.ERROR, "magic tag\n  does not match")
            return None


class _Engine:
    def __init__(self, trt: Any, fake: ctypes.CDLL, described: dict[str, Any]) -> None:
        self._trt, self.fake, self._described = trt, fake, described
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(described["onnx"], options)
        self.inputs, self.outputs = self.session.get_inputs(), self.session.get_outputs()
        self.tensors = [*self.inputs, *self.outputs]
        self.num_io_tensors = len(self.tensors)
        self.profile = described["profile"]
        #: As it was built: -1 for what the profile leaves open.
        self.shapes = {name: tuple(shape) for name, shape in described["shapes"].items()}

    def get_tensor_name(self, index: int) -> str:
        return str(self.tensors[index].name)

    def _index(self, name: str) -> int:
        return [tensor.name for tensor in self.tensors].index(name)

    def get_tensor_mode(self, name: str) -> Any:
        return self._trt.TensorIOMode(int(self._index(name) >= len(self.inputs)))

    def get_tensor_dtype(self, name: str) -> Any:
        kind = self.tensors[self._index(name)].type
        known = {
            "tensor(float)": 0,
            "tensor(float16)": 1,
            "tensor(int32)": 3,
            "tensor(uint8)": 4,
            "tensor(int64)": 6,
        }
        return self._trt.DataType(known[kind])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[name] if name in self.shapes else self.output_shape(name, self.shapes)

    def output_shape(self, name: str, inputs: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
        """As the library infers it: here by computing it, and -1 where inputs leave it open."""
        if not any(-1 in shape for shape in inputs.values()):
            return self._computed_shape(name, inputs)
        low, high = (
            self._computed_shape(name, {key: tuple(size if size >= 0 else open_ for size in shape)
                                        for key, shape in inputs.items()})
            for open_ in (32, 64)
        )  # fmt: skip
        return tuple(one if one == other else -1 for one, other in zip(low, high, strict=True))

    def _computed_shape(self, name: str, inputs: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
        zeros = {item.name: np.zeros(inputs[item.name], _NUMPY[item.type]) for item in self.inputs}
        return tuple(self.session.run([name], zeros)[0].shape)

    def get_tensor_profile_shape(self, name: str, index: int) -> Iterator[tuple[int, ...]]:
        return tuple(tuple(shape) for shape in self.profile[name])

    def create_engine_inspector(self) -> Any:
        trt = self._trt
        texts = {trt.LayerInformationFormat.ONELINE: trt.layer_information}
        return SimpleNamespace(get_engine_information=texts.__getitem__)

    def create_runtime_config(self) -> Any:
        return _RuntimeConfig()

    def create_execution_context(self, config: Any = None) -> _ExecutionContext:
        if config is not None:
            self._trt.strategies.append(config.dynamic_shapes_kernel_specialization_strategy.name)
        return _ExecutionContext(self, self._trt, config and config.kernels)


class _KernelCache:
    """Kernels: a header, and a shape per line."""

    header = b"kernels\n"

    def __init__(self) -> None:
        self.shapes: set[bytes] = set()

    def deserialize(self, content: bytes) -> bool:
        if content.startswith(self.header):
            self.shapes = set(content.removeprefix(self.header).splitlines())
        return content.startswith(self.header)

    def serialize(self) -> bytes:
        return self.header + b"\n".join(sorted(self.shapes))


class _RuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy: Any = None
    kernels: _KernelCache | None = None

    def create_runtime_cache(self) -> _KernelCache:
        return _KernelCache()

    def set_runtime_cache(self, cache: _KernelCache) -> bool:
        self.kernels = cache
        return True


class _ExecutionContext:
    profiler: Any = None

    def __init__(self, engine: _Engine, trt: Any, kernels: _KernelCache | None) -> None:
        self._engine, self._trt, self._kernels_kept = engine, trt, kernels
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._changes = 0
        self._ran = False
        self._kernels: list[Any] = []  # a launch must not outlive its code

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        self._changes += 1
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        low, _, high = self._engine.profile.get(name) or (self._engine.shapes[name],) * 3
        if any(not least <= size <= most for least, size, most in zip(low, shape, high, strict=True)):
            return False
        self._shapes[name] = tuple(shape)
        self._changes += 1
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes.get(name) or self._engine.output_shape(name, self._shapes)

    def execute_async_v3(self, stream: int) -> bool:
        engine, changes = self._engine, self._changes
        if not self._ran and engine.fake.fake_capturing(stream):
            return False  # a first run inside a capture is not allowed
        if self.profiler is not None and not engine.fake.fake_capturing(stream):
            for name, milliseconds in self._trt.layer_times:
                self.profiler.report_layer_time(name, milliseconds)
        self._ran = True
        shape = repr(tuple(self._shapes.values())).encode()
        if self._kernels_kept is not None and shape not in self._kernels_kept.shapes:
            self._trt.compiled.append(next(iter(self._shapes.values())))
            self._kernels_kept.shapes.add(shape)
        addresses, shapes = dict(self._addresses), dict(self._shapes)

        def run(_: Any) -> None:
            feeds = {
                item.name: _view(addresses[item.name], shapes[item.name], _NUMPY[item.type])
                for item in engine.inputs
            }
            with np.errstate(all="ignore"):
                results = engine.session.run(None, feeds)
            for item, result in zip(engine.outputs, results, strict=True):
                # A context that was changed after its graph was captured does anything.
                value = result if changes == self._changes else np.full_like(result, np.nan)
                _view(addresses[item.name], value.shape, value.dtype)[...] = value

        kernel = _KERNEL(run)
        self._kernels.append(kernel)
        target = addresses[engine.outputs[0].name]
        return engine.fake.fake_launch(stream, target, kernel, None) == 0


def _view(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(memory, dtype=dtype).reshape(shape)
