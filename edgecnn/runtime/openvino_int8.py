"""Whether OpenVINO computes an int8 network right on this processor: by the integers of its weights."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.errors import EngineError
from edgecnn.runtime.processor import processor, saturates

#: Two products of this weight and the largest uint8 fit 16 bits: 2 x 255 x 64 < 2^15.
_LARGEST = 64


def demand_exact(model: Any, path: Path, source: Path | None = None) -> None:
    """Raise EngineError for an openvino.Model of `path` whose int8 products this processor cuts off.

    `source` is the ONNX file that it was built from. OpenVINO has no setting for exact products
    (`runtime.ort.EXACT_INT8`): only smaller weights help.
    """
    if not saturates() or not _computes_integers(model) or largest_weight(model) <= _LARGEST:
        return
    known = source or Path("m.onnx")
    smaller = known.with_name(f"{known.stem}_7bit.onnx")
    command = f"edgecnn quantize {{}} --target openvino-avx2 -o {shlex.quote(str(smaller))}"
    raise EngineError(
        f"{path.name} has int8 weights of 8 bits, which OpenVINO computes wrongly on this processor"
        f" ({processor()}): it has no VNNI, and sums of two products are cut off at 16 bits",
        hint=f"{command.format('FLOAT.onnx')} writes weights of 7 bits, and so does, less exactly,"
        f" {command.format('--from ' + shlex.quote(str(known)))}; compile that for OpenVINO. ONNX Runtime"
        f" computes {known.name} right as it is",
    )


def _computes_integers(model: Any) -> bool:
    """Return whether the network's own values are rounded to integers; else weights become floats first."""
    return any(
        node.get_type_name() == "FakeQuantize" and _constant(node.input_value(0)) is None
        for node in model.get_ops()
    )


def largest_weight(model: Any) -> float:
    """Return the largest integer, the sign aside, that a constant of an openvino.Model is stored as.

    One that OpenVINO still has to round, a FakeQuantize on a constant, counts as what it becomes.
    """
    largest = 0.0
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind == "Constant" and node.get_output_element_type(0).to_string() in ("i8", "u8"):
            if not _is_zero_point(node):
                # Unsigned ones have their zero in the middle.
                middle = 0 if node.get_output_element_type(0).to_string() == "i8" else 128
                values = np.asarray(node.data).astype(np.int16) - middle
                largest = max(largest, float(np.abs(values).max(initial=0)))
        elif kind == "FakeQuantize" and (values := _constant(node.input_value(0))) is not None:
            low, high = (_constant(node.input_value(position)) for position in (3, 4))
            if low is None or high is None:
                return float("inf")
            step = (high - low) / (node.get_attributes()["levels"] - 1)
            ends = np.maximum(np.minimum(values, high), low)
            largest = max(largest, float(np.rint(np.abs(ends / step)).max(initial=0)))
    return largest


def _is_zero_point(node: Any) -> bool:
    """Return whether a constant is what a Subtract takes off, at once or as a float."""
    readers = list(node.output(0).get_target_inputs())
    for reader in list(readers):
        if reader.get_node().get_type_name() == "Convert":
            readers += reader.get_node().output(0).get_target_inputs()
    return any(item.get_node().get_type_name() == "Subtract" and item.get_index() == 1 for item in readers)


def _constant(output: Any) -> Any:
    """Return the value of a constant as float32, also of one that is stored narrower; None for another."""
    node = output.get_node()
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.asarray(node.data, np.float32) if node.get_type_name() == "Constant" else None
