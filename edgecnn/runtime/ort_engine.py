"""The ONNX Runtime engine: CPU, and CUDA where it is there."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgecnn import onnx_metadata
from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.backends import Backend
from edgecnn.errors import ArtifactError, EngineError, UnknownNameError
from edgecnn.optional_packages import require
from edgecnn.registry import suggest
from edgecnn.runtime.engine import Array, Engine, demand_threads
from edgecnn.runtime.engine_inputs import Inputs, known_layout, layout_of
from edgecnn.runtime.gpu_turns import TURNS
from edgecnn.runtime.ort_binding import BoundSession, bindable
from edgecnn.runtime.processor import processor, saturates
from edgecnn.runtime.times import Times

#: Device: the execution provider that stands for it.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
#: Seconds that an inference of a network with loops may take: some never end.
LOOP_SECONDS = 60.0
_LOOPS = {"Loop", "Scan", "If"}
#: Entry of a session: int8 products in full, where the processor would cut them off (`processor.saturates`).
#: It changes the graph while that is optimized, and thus nothing in a file that was optimized before.
EXACT_INT8 = "session.x64quantprecision"
_EXACT_FORM = "int8 as u8 x u8"
#: What the names of operators on integers have in common, in a file of ONNX Runtime's own format.
_INTEGER = (b"QLinear", b"QGemm", b"MatMulInteger", b"ConvInteger", b"QAttention")
#: Type of a tensor in the library: in NumPy, where it is called otherwise.
_DTYPES = {"float": "float32", "double": "float64"}


class OrtEngine(Engine):
    """Runs an ONNX file in ONNX Runtime."""

    backend = "onnxruntime"

    def __init__(
        self, path: Path, manifest: Manifest | None, *, device: str = "auto", threads: int = 0
    ) -> None:
        ort = require("onnxruntime", "running an ONNX file")
        demand_threads(threads)
        if manifest is not None and manifest.engine is not None:
            # Compiled for one device: elsewhere its kernels do not exist.
            device = manifest.engine.flags.get("device", device) if device == "auto" else device
            threads = threads or int(manifest.engine.flags.get("threads", 0))
        self.device = choose_device(device, ort.get_available_providers())
        self.threads = threads
        _demand_exact(path, manifest, self.device)
        #: Whether a CUDA graph starts all kernels of an inference at once.
        self.cuda_graph = self.device == "cuda"
        self._session = self._open(path)
        if device == "auto" and PROVIDERS[self.device] not in self._session.get_providers():
            self.device = "cpu"
        self._check_provider()
        self._names = [value.name for value in self._session.get_outputs()]
        # An inference cannot be interrupted from outside of the library.
        self._loops = path.suffix == ".onnx" and bool(_LOOPS & onnx_metadata.contents(path).operators)
        inputs = [_input_spec(value, path, manifest) for value in self._session.get_inputs()]
        outputs = [_output_spec(value) for value in self._session.get_outputs()]
        if len(inputs) == 1 and not inputs[0].shape:  # a scalar, or the library was told of no shape
            raise ArtifactError(
                f"{path} does not say what shape its input {inputs[0].name!r} has; an image has four sizes",
                hint="edgecnn quantize --size 224 writes a file that says it",
            )
        self._keys = [spec.name for spec in inputs]
        binds = self.device == "cuda" and bindable(inputs, outputs)
        if self.cuda_graph and not binds:
            # What a graph computes is only found in buffers that were bound before.
            self.cuda_graph = False
            self._session = self._open(path)
        self._bound = None
        if binds:
            another = functools.partial(self._another, path) if self.cuda_graph else None
            self._bound = BoundSession(self._session, "cuda", inputs, outputs, another)
        # Also known when the engine is closed: a result that was measured is described then.
        self._binds = self._bound is not None
        super().__init__(path, manifest, inputs, outputs)

    @classmethod
    def here(cls, backend: Backend) -> dict[str, str]:
        """Return what this machine is, with the int8 products that a graph is optimized for."""
        return {**super().here(backend), "processor": kernels()}

    def _open(self, path: Path) -> Any:
        if not self.cuda_graph:
            return open_session(str(path), device=self.device, threads=self.threads)
        try:
            return open_session(str(path), device=self.device, threads=self.threads, graph=True)
        except EngineError:
            # Not every network can be captured; one that cannot be run at all fails again here.
            self.cuda_graph = False
            return open_session(str(path), device=self.device, threads=self.threads)

    def _another(self, path: Path, graph: bool) -> Any:
        """Open the file once more, for another shape of input."""
        return open_session(str(path), device=self.device, threads=self.threads, graph=graph)

    def _check_provider(self) -> None:
        if PROVIDERS[self.device] not in self._session.get_providers():
            raise EngineError(
                f"ONNX Runtime did not start {PROVIDERS[self.device]}; it fell back to "
                f"{', '.join(self._session.get_providers())}",
                hint="edgecnn doctor shows what is missing",
            )

    @property
    def notes(self) -> list[str]:
        """What becomes of an int8 file: on a GPU, of a form that is for other libraries, without VNNI."""
        name = self.path.name
        if self.manifest is None or self.manifest.precision != "int8":
            return []
        if self.device == "cuda":
            return [
                f"ONNX Runtime has no int8 kernels for a GPU: it computes {name} in float, and rounds in"
                " between. There int8 is for TensorRT"
            ]
        if self.device != "cpu":
            return []
        notes = []
        if (self.manifest.quantization or {}).get("scheme") == "portable":
            notes.append(
                f"{name} has the portable int8 form, which is for TensorRT; ONNX Runtime"
                " computes most of it in float on a CPU. For this machine: `target` cpu"
            )
        if saturates():
            notes.append(
                f"this processor ({processor()}) has no VNNI: ONNX Runtime computes {name} in full, by slower"
                " kernels than those that are fast and wrong here"
            )
        return notes

    @property
    def launches_graph(self) -> bool | None:
        """Whether a CUDA graph launches an inference; None on a CPU."""
        return self.cuda_graph if self._binds else None

    def time(self, inputs: Inputs) -> Times | None:
        """Run a batch on a GPU, and return how long its parts took; None on a CPU. Raises as calling does."""
        if self._bound is None:
            return None
        arrays = [np.asarray(array, order="C") for array in self.check(inputs)]
        try:
            return self._bound.time(arrays)
        except Exception as error:
            raise self._failure(error) from error

    def _infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        try:
            if self._bound is not None:
                return self._bound(inputs)
            # What is usual first: joining names and arrays takes a tenth of the time of a call.
            one = len(inputs) == 1
            feeds = {self._keys[0]: inputs[0]} if one else dict(zip(self._keys, inputs, strict=True))
            if self.device == "cpu":
                return self._run(feeds)
            with TURNS.shared():
                return self._run(feeds)
        except EngineError:
            raise
        except Exception as error:
            raise self._failure(error) from error

    def _run(self, feeds: dict[str, Array]) -> list[Array]:
        if not self._loops:
            return cast("list[Array]", self._session.run(self._names, feeds))
        options = require("onnxruntime", "running an ONNX file").RunOptions()
        timer = threading.Timer(LOOP_SECONDS, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        try:
            return cast("list[Array]", self._session.run(self._names, feeds, options))
        except Exception as error:
            if not options.terminate:
                raise
            raise EngineError(
                f"an inference of {self.path.name}, which has loops, takes over {LOOP_SECONDS:g} seconds",
                hint="export the network without loops",
            ) from error
        finally:
            timer.cancel()

    def _failure(self, error: Exception) -> EngineError:
        # The library's errors have no common base class of their own.
        return EngineError(f"ONNX Runtime failed on {self.path.name}: {first_line(error)}")

    def _gpu(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.device == "cpu" else TURNS.shared()

    def _release(self) -> None:
        with self._gpu():
            self._bound = None
            del self._session


def open_session(
    model: str | bytes,
    *,
    device: str = "cpu",
    threads: int = 0,
    optimize: bool = True,
    graph: bool = False,
    trace: Path | None = None,
) -> Any:
    """Return an onnxruntime.InferenceSession; raises EngineError if the library refuses the model.

    Without `optimize` every node of the file is computed as it stands there. With `graph` its kernels are
    captured as a CUDA graph. With `trace` each kernel is timed, into a file whose name begins so.
    """
    ort = require("onnxruntime", "running an ONNX file")
    options = session_options()
    options.intra_op_num_threads = threads
    # Else its threads keep their cores busy for 40 ms after every run, waiting for another: an application's
    # other work is slowed, and so is every other engine that is measured in turns. A millisecond is enough
    # for runs right after each other. Versions that do not know the setting ignore it.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "1000")
    if trace is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(trace)
    if device != "cpu":
        # Without this, what the provider cannot do would run on the CPU, and nobody would know.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        # Else it gives convolutions between pairs an int32 bias, for which a GPU has no kernel.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        settings = {"enable_cuda_graph": "1"} if graph else {}
        with contextlib.nullcontext() if device == "cpu" else TURNS.shared():
            return ort.InferenceSession(model, options, providers=[(PROVIDERS[device], settings)])
    except Exception as error:  # as above
        name = model if isinstance(model, str) else "the model"
        raise EngineError(
            f"ONNX Runtime {ort.__version__} refuses {name}: {first_line(error)}",
            hint="export the model again; a newer opset may need a newer ONNX Runtime",
        ) from error


def session_options() -> Any:
    """Return an onnxruntime.SessionOptions with what every session needs."""
    options = require("onnxruntime", "running an ONNX file").SessionOptions()
    options.log_severity_level = 3  # warnings are the library's notes to itself
    if saturates():
        # It computes u8 x u8 then, which nothing cuts off. Elsewhere that would be slower for nothing.
        options.add_session_config_entry(EXACT_INT8, "1")
    return options


def kernels() -> str:
    """Return for which instructions, and which int8 products, the library optimizes a graph here."""
    return processor() + (f", {_EXACT_FORM}" if saturates() else "")


def run_session(session: Any, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
    """Return what a session computes; raises EngineError with the library's reason if it fails."""
    try:
        return cast("list[Array]", session.run(list(outputs), dict(feeds)))
    except Exception as error:  # as above
        raise EngineError(f"ONNX Runtime fails on the graph: {first_line(error)}") from error


def choose_device(device: str, available: list[str]) -> str:
    """Return a key of `PROVIDERS` that this build of ONNX Runtime has; raises EngineError for another."""
    if device == "auto":
        return "cuda" if PROVIDERS["cuda"] in available else "cpu"
    if device not in PROVIDERS:
        raise UnknownNameError(f"unknown `device` {device!r}", hint=suggest(device, ["auto", *PROVIDERS]))
    if PROVIDERS[device] not in available:
        raise EngineError(
            f"this ONNX Runtime has no {device}: it offers {', '.join(available)}",
            hint='pip install "edgecnn[ort-gpu]", then: edgecnn doctor',
        )
    return device


def _demand_exact(path: Path, manifest: Manifest | None, device: str) -> None:
    """Raise EngineError for an int8 file whose products would be cut off here, whatever a session asks for.

    That is an optimized file of unknown origin (one with a record was optimized for this processor, or
    `compatibility.check` refuses it), and 8-bit weights in OpenVINO's provider.
    """
    if not saturates():
        return
    if path.suffix == ".ort" and manifest is None:
        content = path.read_bytes()
        if any(name in content for name in _INTEGER):
            raise EngineError(
                f"{path.name} has no {path.name}.json beside it, and may be computed wrongly on this"
                f" processor ({processor()}): it has no VNNI, and cuts off large int8 products",
                hint="copy both files, or build it here: edgecnn compile m.onnx --backend ort",
            )
    bits = (manifest.quantization or {}).get("weight_bits", 8) if manifest else 8
    if device == "openvino" and (manifest is None or manifest.precision == "int8") and bits > 7:
        raise EngineError(
            f"{path.name} may have int8 weights of 8 bits, which OpenVINO computes wrongly on this processor"
            f" ({processor()}): it has no VNNI",
            hint="leave the device out: ONNX Runtime's own kernels compute it right",
        )


def _input_spec(value: Any, path: Path, manifest: Manifest | None) -> TensorSpec:
    dtype = _dtype(value, path)
    shape = tuple(
        size if isinstance(size, int) and size > 0 else size or (f"size{axis}" if axis else "batch")
        for axis, size in enumerate(value.shape)
    )
    return TensorSpec(value.name, shape, dtype, known_layout(value.name, shape, manifest))


def _output_spec(value: Any) -> TensorSpec:
    shape = tuple(
        size if isinstance(size, int) else size or f"size{axis}"
        for axis, size in enumerate(value.shape or ())
    )
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    return TensorSpec(value.name, shape, _DTYPES.get(kind, kind), layout_of(shape))


def _dtype(value: Any, path: Path) -> str:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    try:
        return str(np.dtype(_DTYPES.get(kind, kind)))
    except TypeError as error:
        raise ArtifactError(
            f"the input {value.name!r} of {path} is {value.type}, which NumPy has no numbers for",
            hint="export the network with inputs of numbers",
        ) from error


def first_line(error: Exception) -> str:
    """Return what a library's error says first, or its name."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
