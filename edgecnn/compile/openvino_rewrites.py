"""What OpenVINO's CPU needs to compute a quantized network fast, and right.

In OpenVINO's graph a QuantizeLinear with its DequantizeLinear is one operator, FakeQuantize, which rounds to
the points of a grid. An ONNX file has them where ONNX Runtime or TensorRT look for them, behind a pooling or
a concatenation as well as before it. OpenVINO's CPU computes each one that it cannot fold into the operator
before, and goes over to float where a concatenation has them on one side only. So each value is rounded
once, where it is made: rounding and what merely moves values can change places, and to round twice is to
round once.

An average that counts zeros beyond the border becomes a depthwise convolution. Where OpenVINO stores the
values as unsigned integers with a zero in the middle, its pooling pads with the integer 0, the lowest value
(2026.4), and a convolution with the value zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecnn.optional_packages import require

#: Operators whose output holds values of their first input; a concatenation's, of all.
_MOVES = frozenset(
    {"MaxPool", "Concat", "Reshape", "Transpose", "Split", "VariadicSplit", "StridedSlice", "Slice"}
    | {"Squeeze", "Unsqueeze", "Gather", "ShuffleChannels"}
)

#: Lowest and highest point and number of points.
Grid = tuple[float, float, int]


def adapt(model: Any) -> None:
    """Rewrite the quantized part of an openvino.Model; what it computes stays the same.

    Each rounding goes to where the values are made, and the others are dropped; padded averages of
    quantized values become convolutions.
    """
    _round_early(model)
    _drop_repeated(model)
    _convolve_for_averages(model)
    model.validate_nodes_and_infer_types()


def _round_early(model: Any) -> None:
    """Round what is made where all that read it, past moves, round it to one grid."""
    operators = require("openvino.opset13", "compiling for OpenVINO")
    for node in model.get_ordered_ops():
        if node.get_type_name() in _MOVES | {"FakeQuantize", "Constant", "Result"}:
            continue
        for output in node.outputs():
            readers = list(output.get_target_inputs())
            grids = _grids_of_readers(output)
            if len(grids) != 1 or not any(reader.get_node().get_type_name() in _MOVES for reader in readers):
                continue
            grid = grids.pop()
            if grid is None:
                continue
            low, high = (np.float32(end) for end in grid[:2])
            rounded = operators.fake_quantize(output, low, high, low, high, grid[2])
            rounded.set_friendly_name(f"{node.get_friendly_name()}/quantize")
            for reader in readers:
                reader.replace_source_output(rounded.output(0))


def _drop_repeated(model: Any) -> None:
    """Take out what rounds values that are on its grid already."""
    for node in model.get_ordered_ops():
        grid = _grid(node)
        if grid is not None and _grid_of(node.input_value(0)) == grid:
            for reader in list(node.output(0).get_target_inputs()):
                reader.replace_source_output(node.input_value(0))


def _convolve_for_averages(model: Any) -> None:
    operators = require("openvino.opset13", "compiling for OpenVINO")
    for node in model.get_ordered_ops():
        if node.get_type_name() != "AvgPool" or not _averages_padding(node):
            continue
        grid, channels = _grid_of(node.input_value(0)), node.get_input_partial_shape(0)[1]
        # Without values below zero the lowest integer is the value zero.
        if grid is None or grid[0] >= 0 or channels.is_dynamic:
            continue
        settings = node.get_attributes()
        share = np.float32(1 / np.prod(settings["kernel"]))
        shares = np.full((channels.get_length(), 1, 1, *settings["kernel"]), share)
        # Without an error they become integers, 63 of 127: few enough bits for any processor.
        end = share / 63 * 127
        weight = operators.fake_quantize(shares, -end, end, -end, end, 255)
        average = operators.group_convolution(
            node.input_value(0),
            weight,
            list(settings["strides"]),
            list(settings["pads_begin"]),
            list(settings["pads_end"]),
            [1] * len(settings["kernel"]),
        )
        average.set_friendly_name(node.get_friendly_name())
        for reader in list(node.output(0).get_target_inputs()):
            reader.replace_source_output(average.output(0))


def _averages_padding(node: Any) -> bool:
    """Return whether a pooling counts zeros beyond the border, and by the kernel's size everywhere."""
    settings = node.get_attributes()
    padded = any(settings["pads_begin"]) or any(settings["pads_end"])
    whole = settings["rounding_type"] == "floor" and settings["auto_pad"] == "explicit"
    return padded and whole and not settings["exclude-pad"]


def _grid(node: Any) -> Grid | None:
    """Return the grid that a node rounds to; None if it does not, or also scales."""
    if node.get_type_name() != "FakeQuantize":
        return None
    ends = [node.input_value(position).get_node() for position in range(1, 5)]
    if any(end.get_type_name() != "Constant" or end.data.size != 1 for end in ends):
        return None
    low, high, low_out, high_out = (float(end.data.item()) for end in ends)
    return (low, high, node.get_attributes()["levels"]) if (low, high) == (low_out, high_out) else None


def _grid_of(output: Any) -> Grid | None:
    """Return the grid that all values of a tensor are on, if there is one."""
    node = output.get_node()
    if node.get_type_name() not in _MOVES:
        return _grid(node)
    grids = {_grid_of(source) for source in _moved(node)}
    return grids.pop() if len(grids) == 1 else None


def _grids_of_readers(output: Any) -> set[Grid | None]:
    """Return the grids that a tensor is rounded to, past moves; None among them: it is read as it is."""
    grids: set[Grid | None] = set()
    for reader in output.get_target_inputs():
        node = reader.get_node()
        if node.get_type_name() in _MOVES and output in _moved(node):
            for moved in node.outputs():
                grids |= _grids_of_readers(moved)
        else:
            grids.add(_grid(node) if reader.get_index() == 0 else None)
    return grids


def _moved(node: Any) -> list[Any]:
    """Return the inputs whose values a move gives on; the others say how."""
    count = node.get_input_size() if node.get_type_name() == "Concat" else 1
    return [node.input_value(position) for position in range(count)]
