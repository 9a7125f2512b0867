"""Linear layers for GPUs of compute capability 7.5, where TensorRT-RTX has none in float32.

It refuses them ("FP32 GEMM is not supported", version 1.7), and takes the sum as a pointwise convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgecnn.runtime.tensorrt_library import Library, sizes

if TYPE_CHECKING:
    import tensorrt

TURING = "7.5"


def make_linear_layers_convolutions(library: Library, network: tensorrt.INetworkDefinition) -> None:
    """Turn each float32 product of a matrix of activations, (N, K), with one of weights into a convolution.

    Products of two activations, as in attention, and of higher rank stay as they are: those are refused.
    """
    trt = library.trt
    for layer in _products_with_weights(library, network):
        product = layer.get_output(0)
        weights = network.add_shuffle(layer.get_input(1))
        if layer.op1 == trt.MatrixOperation.NONE:
            weights.first_transpose = trt.Permutation([1, 0])
            inputs, outputs = sizes(layer.get_input(1).shape)
        else:
            outputs, inputs = sizes(layer.get_input(1).shape)
        weights.reshape_dims = trt.Dims((outputs, inputs, 1, 1))
        pixels = network.add_shuffle(layer.get_input(0))
        pixels.reshape_dims = trt.Dims((0, 0, 1, 1))  # 0: as it is
        none = trt.Weights(trt.DataType.FLOAT)
        convolution = network.add_convolution_nd(pixels.get_output(0), outputs, trt.Dims((1, 1)), none, none)
        convolution.set_input(1, weights.get_output(0))
        # No two layers may have one name.
        name, layer.name = layer.name, f"{layer.name}/product"
        convolution.name = name
        flat = network.add_shuffle(convolution.get_output(0))
        flat.reshape_dims = trt.Dims((0, 0))
        _replace(network, product, flat.get_output(0))


def _products_with_weights(
    library: Library, network: tensorrt.INetworkDefinition
) -> list[tensorrt.IMatrixMultiplyLayer]:
    trt = library.trt
    moving = {network.get_input(index).name for index in range(network.num_inputs)}
    found = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        given = [layer.get_input(number) for number in range(layer.num_inputs)]
        if any(tensor is not None and tensor.name in moving for tensor in given):
            moving |= {layer.get_output(number).name for number in range(layer.num_outputs)}
        if layer.type == trt.LayerType.MATRIX_MULTIPLY:
            product: Any = layer
            product.__class__ = trt.IMatrixMultiplyLayer  # get_layer gives all layers one type
            activations, weights = given
            if (
                weights.name not in moving
                and len(sizes(activations.shape)) == len(sizes(weights.shape)) == 2
                and product.op0 == trt.MatrixOperation.NONE
                and product.get_output(0).dtype == trt.DataType.FLOAT
            ):
                found.append(product)
    return found


def _replace(network: tensorrt.INetworkDefinition, old: tensorrt.ITensor, new: tensorrt.ITensor) -> None:
    """Let everything that reads one tensor read another, an output of the network included."""
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        for number in range(layer.num_inputs):
            tensor = layer.get_input(number)
            if tensor is not None and tensor.name == old.name:
                layer.set_input(number, new)
    if old.is_network_output:
        name = old.name
        network.unmark_output(old)
        old.name, new.name = f"{name}_product", name
        network.mark_output(new)
