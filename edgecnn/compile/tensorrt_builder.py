"""TensorRT 8.6 to 11, and TensorRT-RTX: from an ONNX file to an engine, by one path.

TensorRT times kernels on the GPU that the engine is for. TensorRT-RTX needs no GPU to build: it compiles
for the compute capabilities that it is told, and chooses kernels when the engine first runs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import files
from edgecnn.backends import BACKENDS
from edgecnn.compile.builders import Built, Source
from edgecnn.compile.compile_request import CompileRequest
from edgecnn.compile.tensorrt_monitor import monitor
from edgecnn.compile.tensorrt_precision import follow_file
from edgecnn.compile.tensorrt_shapes import set_shapes
from edgecnn.compile.tensorrt_turing import TURING, make_linear_layers_convolutions
from edgecnn.errors import EngineError, InvalidValueError
from edgecnn.progress import Progress
from edgecnn.runtime import cuda
from edgecnn.runtime.processor import processor
from edgecnn.runtime.tensorrt_inspector import layers
from edgecnn.runtime.tensorrt_library import Library, Messages
from edgecnn.schemes import PORTABLE

if TYPE_CHECKING:
    import tensorrt

#: Compute capabilities that a hardware-compatible engine runs on: "Ampere and later".
_AMPERE_AND_LATER = ("8.", "9.", "10.", "11.", "12.")


def build(source: Source, request: CompileRequest, progress: Progress) -> Built:
    """Return the engine: the precision is the file's, the batch 1 unless the file or the request says more.

    Raises EngineError if the library refuses the network or there is no GPU where it needs one,
    InvalidValueError for a compute capability or a batch that cannot be built for.
    """
    backend = BACKENDS.get(request.backend)
    library = Library(backend)
    _refuse_cpu_form(source, library)
    gpu = _gpu_here(library, request)
    capabilities = _capabilities(library, request, gpu)
    with library.log.listen() as messages:
        trt = library.trt
        builder: tensorrt.Builder = trt.Builder(library.log)
        network: tensorrt.INetworkDefinition = builder.create_network(_network_flags(library, request))
        parser = _parse(library, network, source, request)
        config: tensorrt.IBuilderConfig = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else layers have no names
        batch = set_shapes(library, builder, network, config, request)
        precision = follow_file(library, network, config, dla=request.dla is not None)
        notes = _set_options(library, builder, network, config, request)
        if backend.name == "tensorrt-rtx":
            _set_capabilities(library, config, request.capabilities)
            if TURING in capabilities:
                make_linear_layers_convolutions(library, network)
        cache = _read_cache(library, config, request.timing_cache)
        if hasattr(trt, "IProgressMonitor"):  # TensorRT 8.6 has none
            config.progress_monitor = monitor(trt, progress, messages)
        content = _build(library, builder, network, config, request, capabilities, messages)
        del parser  # not before: the network's weights may lie in its memory
    flags = {
        "batch": batch,
        **({"sizes": str(request.sizes)} if request.sizes else {}),
        "sm": list(capabilities),
        "precision": precision,
        "workspace_mib": request.workspace_mib,
        "timing_cache": _write_cache(config, request.timing_cache) if cache is not None else None,
        "version_compatible": request.version_compatible,
        "hardware_compatible": request.hardware_compatible,
        "sparsity": request.sparsity,
        "dla": request.dla,
    }
    version = f"{library.version.split('.')[0]}." if request.version_compatible else library.version
    return Built(
        files={backend.suffixes[-1]: content},
        needs={
            "compute capability": _AMPERE_AND_LATER if request.hardware_compatible else capabilities,
            backend.title: (version,),
        },
        built_on=gpu.describe() if gpu else {"gpu": "none", "processor": processor()},
        flags=flags,
        runs_here=gpu is not None and gpu.compute_capability in capabilities,
        notes=notes,
        layers=layers(messages.layers),
        arithmetic="tf32",
    )


def _refuse_cpu_form(source: Source, library: Library) -> None:
    if (source.manifest.quantization or {}).get("scheme", PORTABLE.name) != PORTABLE.name:
        portable = source.path.with_name(f"{source.path.stem}_portable.onnx")
        raise EngineError(
            f"{source.path.name} is quantized for CPUs (uint8 activations), which"
            f" {library.backend.title} refuses",
            hint=f"edgecnn quantize --from {source.path} --target portable -o {portable}",
        )


def _gpu_here(library: Library, request: CompileRequest) -> cuda.Device | None:
    """Return the GPU, or None where there is none and none is needed."""
    try:
        return cuda.Device()
    except EngineError as error:
        if library.backend.name == "tensorrt-rtx" and request.capabilities:
            return None
        raise EngineError(
            f"{library.backend.title} builds for the GPU that it runs on: {error}",
            hint="for GPUs that are elsewhere: `backend` tensorrt-rtx `sm` 86,89, or `target` rtx-4070",
        ) from error


def _capabilities(library: Library, request: CompileRequest, gpu: cuda.Device | None) -> tuple[str, ...]:
    """Return what is built for."""
    asked = request.capabilities
    here: tuple[str, ...] = (gpu.compute_capability,) if gpu else ()
    if library.backend.name == "tensorrt" and gpu is not None and asked not in ((), here):
        raise InvalidValueError(
            f"TensorRT builds for the GPU that it runs on, of compute capability {gpu.compute_capability}",
            hint=f"build it on the GPU itself, or: `backend` tensorrt-rtx `sm` {','.join(asked)}",
        )
    return here if library.backend.name == "tensorrt" else asked or here


def _network_flags(library: Library, request: CompileRequest) -> int:
    kind: Any = library.trt.NetworkDefinitionCreationFlag
    if library.implicit_batch:
        return 1 << int(kind.EXPLICIT_BATCH)
    # A DLA computes nothing in float32, and in a strongly typed network float32 stays.
    return 1 << int(kind.STRONGLY_TYPED) if library.strongly_typed_by_flag and request.dla is None else 0


def _parse(
    library: Library, network: tensorrt.INetworkDefinition, source: Source, request: CompileRequest
) -> tensorrt.OnnxParser:
    trt = library.trt
    parser: tensorrt.OnnxParser = trt.OnnxParser(network, library.log)
    if request.version_compatible or request.hardware_compatible:
        # The plugin that would do it is in neither the lean runtime nor every GPU; since 10 it is off anyway.
        parser.set_flag(trt.OnnxParserFlag.NATIVE_INSTANCENORM)
    if parser.parse_from_file(str(source.path)):
        return parser
    found = []
    for index in range(parser.num_errors):
        error: tensorrt.ParserError = parser.get_error(index)
        # TensorRT 8.6 knows only the number of the node.
        node = f"{error.node_operator()} {error.node_name()}" if hasattr(error, "node_name") else error.node()
        found.append(f"{node}: {' '.join(error.desc().split())}")
    raise EngineError(
        f"{library} cannot read {source.path.name}: {'; '.join(found) or 'no reason given'}",
        hint="edgecnn quantize and edgecnn export write files that it reads, with --target portable",
    )


def _set_options(
    library: Library,
    builder: tensorrt.Builder,
    network: tensorrt.INetworkDefinition,
    config: tensorrt.IBuilderConfig,
    request: CompileRequest,
) -> list[str]:
    """Set what is asked for, and return what there is to say of it."""
    trt = library.trt
    if request.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
    if request.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if request.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if request.sparsity:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if library.implicit_batch:
        # Several threads run one profile at a time: so in later versions always.
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if request.dla is None:
        return []
    if request.dla >= builder.num_DLA_cores:
        raise InvalidValueError(
            f"there is no deep-learning accelerator {request.dla} here, but {builder.num_DLA_cores}",
            hint="leave `dla` out",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = request.dla
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    able = sum(config.can_run_on_DLA(network.get_layer(index)) for index in range(network.num_layers))
    return [f"the accelerator can run {able} of {network.num_layers} layers; the rest is on the GPU"]


def _set_capabilities(
    library: Library, config: tensorrt.IBuilderConfig, capabilities: tuple[str, ...]
) -> None:
    # TensorRT-RTX alone has these, so that the types of TensorRT do not know them.
    chosen: Any = config
    kind: Any = library.trt.ComputeCapability
    chosen.num_compute_capabilities = max(1, len(capabilities))
    if not capabilities:
        chosen.set_compute_capability(kind.CURRENT, 0)
    known = {name[2:-1] + "." + name[-1]: kind.__members__[name] for name in kind.__members__ if "SM" in name}
    for value in capabilities:
        if value not in known:
            raise InvalidValueError(
                f"{library} builds for no compute capability {value}", hint=f"it knows {', '.join(known)}"
            )
    for index, value in enumerate(capabilities):
        chosen.set_compute_capability(known[value], index)


def _read_cache(
    library: Library, config: tensorrt.IBuilderConfig, path: Path | None
) -> tensorrt.ITimingCache | None:
    """Give the builder the timings of a file, which need not exist yet; None where there is none."""
    if path is None:
        return None
    files.check_writable(path)
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    # Timings of another GPU or version mislead.
    if cache is None or not config.set_timing_cache(cache, False):
        raise EngineError(
            f"{path} holds no timings of {library} on this GPU", hint="give the name of a new file"
        )
    return cache


def _write_cache(config: tensorrt.IBuilderConfig, path: Path | None) -> str | None:
    """Write the old and the new timings, with those that another build added meanwhile; return the hash."""
    if path is None:
        return None
    cache = config.get_timing_cache()
    if path.is_file():
        cache.combine(config.create_timing_cache(path.read_bytes()), False)
    content = bytes(cache.serialize())
    files.write_atomic(path, content)
    return hashlib.sha256(content).hexdigest()


def _build(
    library: Library,
    builder: tensorrt.Builder,
    network: tensorrt.INetworkDefinition,
    config: tensorrt.IBuilderConfig,
    request: CompileRequest,
    capabilities: tuple[str, ...],
    messages: Messages,
) -> bytes:
    serialized = builder.build_serialized_network(network, config)
    if messages.interrupted is not None:
        raise messages.interrupted
    if serialized is None:
        raise EngineError(
            f"{library} cannot build {request.source.name} for {', '.join(capabilities)}: {messages}",
            hint=_hint(library, request, capabilities),
        )
    return bytes(serialized)


def _hint(library: Library, request: CompileRequest, capabilities: tuple[str, ...]) -> str:
    if request.workspace_mib is not None:
        return "give it a larger `workspace`, or leave it out"
    if library.backend.name == "tensorrt-rtx" and "7.5" in capabilities:
        return (
            "on compute capability 7.5 it multiplies activations in float16 alone: leave 7.5 out, or --fp16"
        )
    return f"edgecnn doctor, or another version of {library.backend.title}"
