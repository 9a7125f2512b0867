"""Quantize an ONNX file, with training where that was asked for and no repair is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecnn.artifact import check_onnx_output, read_manifest
from edgecnn.backends import ONNXRUNTIME
from edgecnn.optional_packages import require
from edgecnn.progress import Progress, silent
from edgecnn.quantize.quantize_request import QuantizeRequest, RequantizeRequest

if TYPE_CHECKING:
    from edgecnn.quantize.quantize_file import Trainer
    from edgecnn.quantize.write_file import QuantizedFile


def quantize_model(request: QuantizeRequest, progress: Progress = silent) -> QuantizedFile:
    """Write an int8 or float16 file, whole or not at all. Raises what `quantize_file` raises."""
    for module in ("onnx", "onnxsim", ONNXRUNTIME.library):
        require(module, "quantizing a network")
    from edgecnn.quantize.quantize_file import quantize_file

    check_onnx_output(request.output)
    return quantize_file(request, progress, *_training(request, progress))


def _training(request: QuantizeRequest, progress: Progress) -> tuple[Trainer | None, dict[str, Any] | None]:
    """Return what trains an int8 form with images that do not test the network, and a record of these."""
    if request.train is None:
        return None, None
    from edgecnn.compress.qat.train_quantized import trainer
    from edgecnn.compress.train.train_options import TrainOptions
    from edgecnn.data import trained_on

    options = TrainOptions(epochs=request.train_epochs, warmup=None, validation=0.0, seed=request.seed)
    known = read_manifest(request.source)
    dataset = trained_on.open_for([known], request.train, seed=request.seed, validation=0.0)
    made = trainer(
        dataset, options, lambda report: progress(f"training: step {report.done} of {report.total}")
    )
    return made, trained_on.describe(dataset, known.lineage if known else ())


def requantize_model(request: RequantizeRequest, progress: Progress = silent) -> QuantizedFile:
    """Write an int8 file of ours for another target. Raises what `requantize_file` raises."""
    for module in ("onnx", "onnxsim", ONNXRUNTIME.library):
        require(module, "quantizing a network")
    from edgecnn.quantize.requantize import requantize_file

    check_onnx_output(request.output)
    return requantize_file(request, progress)
