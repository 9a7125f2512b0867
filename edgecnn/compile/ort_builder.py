"""ONNX Runtime: its own optimizations done once, kept as a file that starts without them."""

from __future__ import annotations

from pathlib import Path

from edgecnn.compile.builders import Built, Source
from edgecnn.compile.compile_request import BatchRange, CompileRequest
from edgecnn.errors import EngineError, InvalidValueError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.optional_packages import require
from edgecnn.progress import Progress
from edgecnn.runtime.ort_engine import PROVIDERS, choose_device, first_line, kernels, session_options


def build(source: Source, request: CompileRequest, progress: Progress) -> Built:
    """Return the model in ONNX Runtime's own format, optimized for this processor or GPU.

    The layouts and fusions that it chose hold for these instructions and this version alone.
    It takes what the file takes, any number of images where that is free. Raises EngineError if the library
    refuses the network, InvalidValueError for a batch that the file does not take.
    """
    _demand_batch(source, request.batch)
    ort = require("onnxruntime", "compiling for ONNX Runtime")
    device = choose_device(request.device, ort.get_available_providers())
    progress("optimize")
    options = session_options()
    options.add_session_config_entry("session.save_model_format", "ORT")
    with TemporaryFolder() as folder:
        path = Path(folder) / "model.ort"
        options.optimized_model_filepath = str(path)
        try:
            session = ort.InferenceSession(str(source.path), options, providers=[PROVIDERS[device]])
            made = ort.InferenceSession(str(path), providers=[PROVIDERS[device]])
        except Exception as error:  # the library's errors have no common base class of their own
            raise EngineError(
                f"ONNX Runtime {ort.__version__} refuses {source.path}: {first_line(error)}",
                hint="export the model again; a newer opset may need a newer ONNX Runtime",
            ) from error
        if len(made.get_inputs()) != len(session.get_inputs()):
            raise EngineError(
                f"ONNX Runtime {ort.__version__} cannot compile {source.path}: it lists its weights among its"
                " inputs, as files before IR version 4 do",
                hint="it runs the file as it is; or: `backend` openvino",
            )
        content = path.read_bytes()
    return Built(
        files={".ort": content},
        needs={"ONNX Runtime": (ort.__version__,), "processor": (kernels(),)},
        built_on={"processor": kernels()},
        flags={"device": device, "threads": request.threads},
    )


def _demand_batch(source: Source, batch: BatchRange | None) -> None:
    fixed = source.manifest.inputs[0].shape[0]
    if batch is not None and isinstance(fixed, int) and (batch.least, batch.most) != (fixed, fixed):
        raise InvalidValueError(
            f"the file takes {fixed} images at a time, not {batch.least} to {batch.most}",
            hint="export it without `batch` for any number",
        )
