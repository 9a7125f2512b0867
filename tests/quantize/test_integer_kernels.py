"""In the cpu form no weights are turned into floats at each inference."""

import numpy as np
import onnx
import pytest
from small_graphs import model_of

from edgecnn.quantize.graph.simplify import simplify
from edgecnn.quantize.quantizer import quantize
from edgecnn.schemes import CPU

GRAPHS = {
    "product and bias": "g = GlobalAveragePool(x) f = Flatten(g) h = MatMul(f, v) y = Add(h, b)",
    "bias and product": "g = GlobalAveragePool(x) f = Flatten(g) h = MatMul(f, v) y = Add(b, h)",
    "with an activation": (
        "g = GlobalAveragePool(x) f = Flatten(g) h = MatMul(f, v) i = Add(h, b) r = PRelu(i, b)"
        " k = MatMul(r, v) y = Add(k, b)"
    ),
    "product alone": "g = GlobalAveragePool(x) f = Flatten(g) y = MatMul(f, v)",
    "transposed convolution": (
        "c = Conv(x, w) t = ConvTranspose <strides = [2, 2], kernel_shape = [2, 2]> (c, up, b3)"
        " m = Relu(t) y = Conv(m, w3)"
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_no_constant_is_dequantized_at_run_time(name, tmp_path, rng):
    import onnxruntime

    model = simplify(model_of(GRAPHS[name]))
    images = rng.normal(size=(4, 4, 8, 8)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    quantized = quantize(model, [images], CPU, "minmax").model
    onnxruntime.InferenceSession(quantized.SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    constants = {tensor.name for tensor in graph.initializer}
    # A convolution that gives the output gives floats.
    last = next(node for node in graph.node if graph.output[0].name in node.output)
    excused = last.input if last.op_type == "Conv" else ()
    left = [
        node.name for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants
        and node.output[0] not in excused
    ]  # fmt: skip
    assert not left
    assert any(node.op_type in ("QGemm", "MatMulIntegerToFloat", "QLinearConv") for node in graph.node)
