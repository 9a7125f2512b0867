"""OpenVINO: the network in its own format (IR), a .xml with the graph and a .bin with the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecnn.compile.builders import Built, Source
from edgecnn.compile.compile_request import BatchRange, CompileRequest, SizeRange
from edgecnn.compile.openvino_rewrites import adapt
from edgecnn.errors import EngineError, OutputError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.optional_packages import require
from edgecnn.progress import Progress
from edgecnn.runtime.engine_inputs import image_layout
from edgecnn.runtime.openvino_engine import settings, what_is_wrong
from edgecnn.runtime.openvino_int8 import demand_exact
from edgecnn.runtime.processor import processor


def build(source: Source, request: CompileRequest, progress: Progress) -> Built:
    """Return the network as an IR; kernels are chosen where it is loaded, so that it runs on any CPU.

    Without a batch that is asked for it takes one image at a time: with a free batch OpenVINO chooses
    shapes at every call, which costs a small network a tenth of its time. Raises EngineError if the library
    refuses the network.
    """
    ov = require("openvino", "compiling for OpenVINO")
    core = ov.Core()
    try:
        progress("convert")
        model = core.read_model(source.path)
        # Joins each QuantizeLinear with its DequantizeLinear. Left to the compilation, which does it later,
        # a concatenation of int8 tensors around zero comes out wrong (2026.4). `ov.convert_model` does it
        # as well, and reports to its maker over the network.
        require("openvino._offline_transformations", "compiling for OpenVINO").apply_moc_transformations(
            model, cf=True
        )
        _fix_shapes(ov, model, request.batch, request.sizes)
        adapt(model)
        demand_exact(model, source.path, source.path)
        progress("compile")
        options = settings(request.threads, request.hint, request.bf16)
        layers = _layers(core.compile_model(model, "CPU", options).get_runtime_model())
        _number(model, source.manifest.layers)
        content = _serialize(ov, model)
    except RuntimeError as error:  # the library has no errors of its own
        raise EngineError(
            f"OpenVINO {ov.__version__} refuses {source.path}: {what_is_wrong(error)}",
            hint="export the model again; a newer opset may need a newer OpenVINO",
        ) from error
    batch = request.batch
    return Built(
        files=content,
        needs={},
        built_on={"processor": processor(), "OpenVINO": ov.__version__},
        flags={
            "threads": request.threads,
            "hint": request.hint,
            "bf16": request.bf16,
            "batch": [batch.least, batch.best, batch.most] if batch else None,
        },
        layers=layers,
    )


def _fix_shapes(ov: Any, model: Any, batch: BatchRange | None, sizes: SizeRange | None) -> None:
    """Fix a free batch at what is asked for, or at one image; a fixed one can be changed as well.

    Free heights and widths are what `sizes` says, or stay free.
    """
    shapes = {port: port.partial_shape for port in model.inputs}
    first = [shape[0] for shape in shapes.values() if len(shape)]
    # With a free batch somewhere, an input whose first size is fixed is one for all images.
    free = any(size.is_dynamic for size in first)
    for shape in shapes.values():
        if not len(shape) or (free and not shape[0].is_dynamic):
            continue
        if batch is not None:
            shape[0] = ov.Dimension(batch.least, batch.most)
        elif shape[0].is_dynamic:
            shape[0] = 1
        if sizes is not None and len(shape) == 4:
            taken = [0 if size.is_dynamic else size.get_length() for size in shape]
            sides = (1, 2) if image_layout(taken) == "NHWC" else (2, 3)
            for axis, least, most in zip(sides, sizes.least, sizes.most, strict=True):
                if shape[axis].is_dynamic:
                    shape[axis] = ov.Dimension(least, most)
    model.reshape(shapes)


def _number(model: Any, layers: Mapping[str, Any] | None) -> None:
    """Number what OpenVINO made itself by its order in the network, so that the same file comes again.

    The library numbers through all that a process does. Layers keep their names, by which they are measured.
    """
    for number, node in enumerate(model.get_ordered_ops()):
        kind, name = node.get_type_name(), node.get_friendly_name()
        made = layers is not None and name not in layers and re.fullmatch(rf"{kind}_\d+", name)
        if kind == "Constant" or made:
            node.set_friendly_name(f"{kind}_{number}")


def _serialize(ov: Any, model: Any) -> dict[str, bytes]:
    with TemporaryFolder() as folder:
        path = Path(folder) / "model.xml"
        try:
            ov.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:
            raise OutputError(
                f"OpenVINO cannot write to {folder}: {what_is_wrong(error)}",
                hint="free some space, or set TMPDIR to another folder",
            ) from error
        return {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}


def _layers(executed: Any) -> list[dict[str, Any]]:
    """Return the operators as OpenVINO arranged them for this CPU, without those on constants alone."""
    found = []
    for node in executed.get_ordered_ops():
        info = node.get_rt_info()
        sources = [port.get_source_output().get_node().get_type_name() for port in node.inputs()]
        if info["layerType"].value == "Const" or (sources and set(sources) == {"Constant"}):
            continue
        found.append(
            {
                "name": node.get_friendly_name(),
                "type": info["layerType"].value,
                "precision": info["runtimePrecision"].value,
                "kernel": info["primitiveType"].value,
            }
        )
    return found
