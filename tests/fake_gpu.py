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
import onnx
import onnxruntime
import pytest

from edgecnn.runtime import cuda
from edgecnn.runtime.backends import BACKENDS

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
    """Put a fake library in place, as pip would: a module, and what its metadata says of its version."""
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
    trt.DataType = _members("DataType", "FLOAT", "HALF", "INT8", "INT32", "UINT8", "OTHER")
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
    trt.nptype = lambda kind: {0: np.float32, 1: np.float16, 2: np.int8, 4: np.uint8}[int(kind)]
    trt.builds = []  # what the builders were told
    trt.strategies = []
    trt.Builder = functools.partial(_Builder, trt, major, rtx)
    trt.OnnxParser = functools.partial(_Parser, trt)
    trt.Runtime = functools.partial(_Runtime, trt, fake)
    return trt


_TYPES = {onnx.TensorProto.FLOAT: 0, onnx.TensorProto.FLOAT16: 1, onnx.TensorProto.INT8: 2}


class _Parser:
    def __init__(self, trt: Any, network: Any, log: Any) -> None:
        self._trt, self._network, self.num_errors = trt, network, 0

    def set_flag(self, flag: Any) -> None:
        self._network.parser_flag = flag

    def parse_from_file(self, path: str) -> bool:
        trt, model = self._trt, onnx.shape_inference.infer_shapes(onnx.load(path))
        graph = model.graph
        kinds = {
            value.name: trt.DataType(_TYPES.get(value.type.tensor_type.elem_type, 5))
            for value in (*graph.input, *graph.value_info, *graph.output)
        } | {value.name: trt.DataType(_TYPES.get(value.data_type, 5)) for value in graph.initializer}
        self._network.path = path
        self._network.layers = [
            _Layer(trt, node, kinds)
            for node in graph.node
            if node.op_type != "DequantizeLinear" or node.input[0] in kinds
        ]
        (image,) = graph.input
        sizes = [part.dim_value or -1 for part in image.type.tensor_type.shape.dim]
        self._network.image = SimpleNamespace(name=image.name, shape=tuple(sizes))
        return True


class _Layer:
    def __init__(self, trt: Any, node: onnx.NodeProto, kinds: dict[str, Any]) -> None:
        quantize = node.op_type == "QuantizeLinear"
        self.type = trt.LayerType.QUANTIZE if quantize else trt.LayerType.COMPUTE
        self.precision: Any = None
        self._tensors = [
            [SimpleNamespace(dtype=kinds[name]) for name in names] for names in (node.input, node.output)
        ]
        self.num_inputs, self.num_outputs = map(len, self._tensors)

    def get_input(self, index: int) -> Any:
        return self._tensors[0][index]

    def get_output(self, index: int) -> Any:
        return self._tensors[1][index]


class _Network:
    num_inputs = 1
    parser_flag: Any = None

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.layers: list[_Layer] = []
        self.image: Any = None
        self.path = ""

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> _Layer:
        return self.layers[index]

    def get_input(self, index: int) -> Any:
        return self.image


class _Cache:
    """Timings: a header, and a name per line."""

    header = b"timings\n"

    def __init__(self, content: bytes) -> None:
        self.fits = not content or content.startswith(self.header)
        self.names = set(content.removeprefix(self.header).split())

    def combine(self, other: _Cache, ignore_mismatch: bool) -> bool:
        self.names |= other.names
        return other.fits

    def serialize(self) -> bytes:
        return self.header + b"\n".join(sorted(self.names))


class _Config:
    def __init__(self) -> None:
        self.flags: set[str] = set()
        self.pools: dict[str, int] = {}
        self.profile: Any = None
        self.cache = _Cache(b"")
        self.previews: list[str] = []
        self.progress_monitor: Any = None
        self.capabilities: list[str] = []

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag.name)

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.pools[pool.name] = size

    def set_preview_feature(self, feature: Any, on: bool) -> None:
        self.previews.append(feature.name)

    def add_optimization_profile(self, profile: Any) -> int:
        self.profile = profile
        return 0

    def create_timing_cache(self, content: bytes) -> _Cache:
        return _Cache(content)

    def set_timing_cache(self, cache: _Cache, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return cache.fits or ignore_mismatch

    def get_timing_cache(self) -> _Cache:
        return self.cache

    def can_run_on_DLA(self, layer: _Layer) -> bool:
        return layer.type.name == "COMPUTE"

    def set_compute_capability(self, value: Any, index: int) -> bool:
        self.capabilities.insert(index, value.name)
        return True


class _Profile:
    def set_shape(self, name: str, *shapes: Any) -> None:
        self.name, self.shapes = name, shapes


class _Builder:
    num_DLA_cores = 1
    #: Called while building, as another process may do something meanwhile.
    meanwhile: Any = None

    def __init__(self, trt: Any, major: int, rtx: bool, log: Any) -> None:
        self._trt, self._log = trt, log

    def create_network(self, flags: int) -> _Network:
        return _Network(flags)

    def create_builder_config(self) -> _Config:
        return _Config()

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes | None:
        self._trt.builds.append(SimpleNamespace(network=network, config=config))
        if network.image.shape[0] < 0 and config.profile is None:
            self._log.log(self._trt.ILogger.Severity.ERROR, "no optimization profile has been defined")
            return None
        if config.progress_monitor is not None:
            config.progress_monitor.phase_start("Timing tactics", None, 2)
            if not all(config.progress_monitor.step_complete("Timing tactics", step) for step in range(2)):
                return None
            config.progress_monitor.phase_finish("Timing tactics")
        config.cache.names.add(Path(network.path).stem.encode())
        if _Builder.meanwhile is not None:
            _Builder.meanwhile()
        batches = [shape[0] for shape in config.profile.shapes] if config.profile else None
        described = {"onnx": network.path, "shape": network.image.shape, "batches": batches}
        return json.dumps(described).encode()


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
    num_io_tensors = 2

    def __init__(self, trt: Any, fake: ctypes.CDLL, described: dict[str, Any]) -> None:
        self._trt, self.fake, self._described = trt, fake, described
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(described["onnx"], options)
        self.tensors = (self.session.get_inputs()[0], self.session.get_outputs()[0])

    def get_tensor_name(self, index: int) -> str:
        return str(self.tensors[index].name)

    def _index(self, name: str) -> int:
        return [tensor.name for tensor in self.tensors].index(name)

    def get_tensor_mode(self, name: str) -> Any:
        return self._trt.TensorIOMode(self._index(name))

    def get_tensor_dtype(self, name: str) -> Any:
        kind = self.tensors[self._index(name)].type
        return self._trt.DataType({"tensor(float)": 0, "tensor(float16)": 1, "tensor(uint8)": 4}[kind])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = tuple(self._described["shape"])
        return shape if self._index(name) == 0 else (shape[0], self.tensors[1].shape[1])

    def get_tensor_profile_shape(self, name: str, index: int) -> Iterator[tuple[int, ...]]:
        return tuple((size, *self._described["shape"][1:]) for size in self._described["batches"])

    def create_engine_inspector(self) -> Any:
        trt = self._trt
        texts = {trt.LayerInformationFormat.ONELINE: trt.layer_information}
        return SimpleNamespace(get_engine_information=texts.__getitem__)

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(dynamic_shapes_kernel_specialization_strategy=None)

    def create_execution_context(self, config: Any = None) -> _ExecutionContext:
        if config is not None:
            self._trt.strategies.append(config.dynamic_shapes_kernel_specialization_strategy.name)
        return _ExecutionContext(self, self._trt)


class _ExecutionContext:
    profiler: Any = None

    def __init__(self, engine: _Engine, trt: Any) -> None:
        self._engine, self._trt = engine, trt
        self._addresses: dict[str, int] = {}
        self._shape: tuple[int, ...] = ()
        self._changes = 0
        self._ran = False
        self._kernels: list[Any] = []  # a launch must not outlive its code

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        self._changes += 1
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = tuple(shape)
        self._changes += 1
        return True

    def execute_async_v3(self, stream: int) -> bool:
        engine, changes = self._engine, self._changes
        if not self._ran and engine.fake.fake_capturing(stream):
            return False  # a first run inside a capture is not allowed
        if self.profiler is not None and not engine.fake.fake_capturing(stream):
            for name, milliseconds in self._trt.layer_times:
                self.profiler.report_layer_time(name, milliseconds)
        self._ran = True
        source, target = (self._addresses[tensor.name] for tensor in engine.tensors)

        def run(_: Any) -> None:
            dtype = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
            image = _view(source, self._shape, dtype[engine.tensors[0].type])
            with np.errstate(all="ignore"):
                logits = engine.session.run(None, {engine.tensors[0].name: image})[0]
            # A context that was changed after its graph was captured does anything.
            logits = logits if changes == self._changes else np.full_like(logits, np.nan)
            _view(target, logits.shape, logits.dtype)[...] = logits

        kernel = _KERNEL(run)
        self._kernels.append(kernel)
        return engine.fake.fake_launch(stream, target, kernel, None) == 0


def _view(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(memory, dtype=dtype).reshape(shape)
