"""The building half of a TensorRT that is none: it keeps what it was told, and an engine is a path."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx

_TYPES = {onnx.TensorProto.FLOAT: 0, onnx.TensorProto.FLOAT16: 1, onnx.TensorProto.INT8: 2}


class Parser:
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
        self._network.inputs = [
            SimpleNamespace(
                name=value.name,
                shape=tuple(part.dim_value or -1 for part in value.type.tensor_type.shape.dim),
            )
            for value in graph.input
        ]
        return True


class _Layer:
    def __init__(self, trt: Any, node: onnx.NodeProto, kinds: dict[str, Any]) -> None:
        self.op = node.op_type
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
    parser_flag: Any = None

    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.layers: list[_Layer] = []
        self.inputs: list[Any] = []
        self.path = ""

    @property
    def image(self) -> Any:
        return self.inputs[0]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_layer(self, index: int) -> _Layer:
        return self.layers[index]

    def get_input(self, index: int) -> Any:
        return self.inputs[index]


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
        return layer.op != "Flatten"

    def set_compute_capability(self, value: Any, index: int) -> bool:
        self.capabilities.insert(index, value.name)
        return True


class _Profile:
    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def set_shape(self, name: str, *shapes: Any) -> None:
        self.by_name[name] = shapes

    @property
    def shapes(self) -> Any:
        """Those of the first input."""
        return next(iter(self.by_name.values()))


class Builder:
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
        profiled = config.profile.by_name if config.profile else {}
        if any(min(item.shape, default=0) < 0 and item.name not in profiled for item in network.inputs):
            self._log.log(self._trt.ILogger.Severity.ERROR, "no optimization profile has been defined")
            return None
        if config.progress_monitor is not None:
            config.progress_monitor.phase_start("Timing tactics", None, 2)
            if not all(config.progress_monitor.step_complete("Timing tactics", step) for step in range(2)):
                return None
            config.progress_monitor.phase_finish("Timing tactics")
        config.cache.names.add(Path(network.path).stem.encode())
        if Builder.meanwhile is not None:
            Builder.meanwhile()
        shapes = {item.name: item.shape for item in network.inputs}
        described = {"onnx": network.path, "shapes": shapes, "profile": profiled}
        return json.dumps(described).encode()
