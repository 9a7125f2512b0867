"""The precision of a TensorRT engine: what the ONNX file says, in every version of the library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgecnn.runtime.tensorrt_library import Library

if TYPE_CHECKING:
    import tensorrt


def follow_file(
    library: Library, network: tensorrt.INetworkDefinition, config: tensorrt.IBuilderConfig, *, dla: bool
) -> str:
    """Make the builder take each tensor's type from the network, and return by which means.

    From version 10 on networks are strongly typed, which is all. Before, and for a DLA, which has no float32,
    flags allow types: int8 where the file has Q/DQ pairs, float16 where it has such tensors. The latter
    would let the builder take any layer down to float16, so that those that are float32 are held there.
    """
    if library.strongly_typed and not (dla and library.strongly_typed_by_flag):
        return "strongly typed"
    trt = library.trt
    quantized = any(layer.type == trt.LayerType.QUANTIZE for layer in _layers(network))
    half = any(trt.DataType.HALF in _types(layer) for layer in _layers(network))
    if quantized:
        config.set_flag(trt.BuilderFlag.INT8)
    if half or dla:
        config.set_flag(trt.BuilderFlag.FP16)
    if half and not dla:
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        for layer in _layers(network):
            if _types(layer) == {trt.DataType.FLOAT} and layer.num_inputs:
                layer.precision = trt.DataType.FLOAT
    return ", ".join(["float32", *["int8"] * quantized, *["float16"] * (half or dla)])


def _layers(network: tensorrt.INetworkDefinition) -> Iterator[tensorrt.ILayer]:
    return (network.get_layer(index) for index in range(network.num_layers))


def _types(layer: tensorrt.ILayer) -> set[tensorrt.DataType]:
    """Return the types of what a layer reads and gives; an input that is left out has none."""
    tensors = [layer.get_input(index) for index in range(layer.num_inputs)]
    tensors += [layer.get_output(index) for index in range(layer.num_outputs)]
    return {tensor.dtype for tensor in tensors if tensor is not None}
