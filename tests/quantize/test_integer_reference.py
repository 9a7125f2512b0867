"""ONNX Runtime computes what our int8 files mean: layer by layer against a reference in integers.

Sessions are the default ones that users get, with the codes of all quantized tensors as further outputs.
For the cpu scheme that changes no kernel, as `check` sees to. In the portable scheme ONNX Runtime moves the
codes of a tensor from int8 to uint8 where one DequantizeLinear is all that reads them, and then takes
integer kernels; codes that are outputs stay int8, and their layers are computed in float32. So a portable
file is looked at twice: as it is, and with that move made here.

x86 processors without VNNI add pairs of uint8 x int8 products in 16 bits and saturate there: on those
the larger sums differ, and these tests can fail.
"""

from collections import Counter

import numpy as np
import onnx
import pytest
from integer_reference import codes_of, layers, outputs
from onnx import helper, numpy_helper
from program import SMALL
from small_graphs import GOLDEN, model_of

from edgecnn.artifact import read_manifest
from edgecnn.data.builtin import frames
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.quantizer import quantize
from edgecnn.runtime import prepare
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.schemes import CPU, PORTABLE

RNG = np.random.default_rng(0)
GRAPHS = (
    "convolution and relu", "convolution and relu6", "linear convolution before another", "residual",
    "gemm and matmul give floats", "both summands are convolutions", "concat", "concat of concat",
    "concat of a clipped tensor and another", "concat of what a pooling moved", "average pooling",
    "global average pooling", "mean over height and width", "max pooling", "two moves in a row", "slice",
    "squeeze", "channel shuffle and split", "squeeze and excitation", "Sigmoid", "LeakyRelu", "HardSwish",
    "SiLU", "squeeze and excitation with a hard gate",
)  # fmt: skip


def session(model, path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(path)
    made = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kernels = Counter(node.op_type for node in onnx.load(path).graph.node)
    # A transposition, or what becomes of the pair behind a tensor, may differ; what computes may not.
    return made, Counter({op: count for op, count in kernels.items() if op not in _AROUND})


_AROUND = ("Transpose", "QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput")


def check(model, batch, path):
    """Compare every layer; return the share of codes that are equal, and the kernels that ran."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    plain, names = [output.name for output in model.graph.output], codes_of(model)
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    _, as_users_run_it = session(model, path)
    runner, kernels = session(shown, path)
    types = {item.data_type for item in model.graph.initializer}
    if onnx.TensorProto.UINT8 in types:
        assert kernels == as_users_run_it, "to look at the codes has changed the kernels"
    found = runner.run([*plain, *names], {model.graph.input[0].name: batch})
    given = dict(zip([*plain, *names], found, strict=True))
    given[model.graph.input[0].name] = batch
    same = total = 0
    for name, expected in layers(model, given):
        away = np.abs(expected.astype(np.int64) - given[name])
        assert expected.dtype == given[name].dtype and away.max() <= 1, f"{name}: {away.max()} steps"
        assert np.mean(away == 0) > 0.99, f"{name}: only {np.mean(away == 0):.2%} are equal"
        same, total = same + int(np.sum(away == 0)), total + away.size
    for value, expected in zip(model.graph.output, outputs(model, given), strict=True):
        error = np.abs(given[value.name] - expected).max()
        assert error <= 1e-4 * np.abs(expected).max(), f"{value.name}: {error}"
    return same / total, kernels


def in_uint8(model):
    """A copy of a portable file with all codes 128 higher, which means the same."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    zeros = {node.input[2] for node in result.graph.node if node.op_type == "QuantizeLinear"}
    for item in result.graph.initializer:
        if item.name in zeros:
            item.CopyFrom(numpy_helper.from_array(np.array(128, np.uint8), item.name))
    return result


@pytest.mark.parametrize("name", GRAPHS)
def test_the_cpu_scheme(name, tmp_path):
    batch = RNG.normal(size=(4, 4, 8, 8)).astype(np.float32)
    model = quantize(model_of(GOLDEN[name].nodes), [batch], CPU, "minmax").model
    share, kernels = check(model, batch, tmp_path / "optimised.onnx")
    assert share > 0.995
    assert set(GOLDEN[name].integer.split()) <= {*kernels, *_AROUND}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_portable_scheme(name, tmp_path):
    batch = RNG.normal(size=(4, 4, 8, 8)).astype(np.float32)
    model = quantize(model_of(GOLDEN[name].nodes), [batch], PORTABLE, "minmax").model
    for form in (model, in_uint8(model)):
        assert check(form, batch, tmp_path / "optimised.onnx")[0] > 0.995


@pytest.mark.parametrize("scheme", [PORTABLE, CPU], ids=lambda scheme: scheme.name)
def test_biases_beside_which_the_weights_of_a_channel_vanish(scheme, tmp_path):
    """ONNX Runtime makes int32 of a float bias by itself; trained networks have channels like this."""
    model = model_of("c = Conv(x, w, b) r = Relu(c) y = Conv(r, w)")
    graph = Graph(model)
    weight = graph.constant("w").copy()
    weight[1] *= 1e-10
    graph.set_constant("w", weight)
    batch = RNG.normal(size=(4, 4, 8, 8)).astype(np.float32)
    made = quantize(model, [batch], scheme, "minmax").model
    assert check(made, batch, tmp_path / "optimised.onnx")[0] > 0.995


@pytest.mark.parametrize("target", ["portable", "cpu"])
@pytest.mark.parametrize(
    "options",
    [
        SMALL,
        pytest.param(("efficientnet_lite0", "--weights", "imagenet"), marks=pytest.mark.slow),
    ],
    ids=lambda options: options[0],
)
def test_an_exported_network(options, target, exported, tmp_path):
    path = exported(*options, "--int8", "--target", target)
    model, row = onnx.load(path), Preprocessing.from_json(read_manifest(path).preprocessing)
    batch = prepare.normalize(row, frames(row, 1, check=True, digit_images=False))
    share, kernels = check(model, batch, tmp_path / "optimised.onnx")
    assert share > 0.9999
    if target == "cpu":
        assert kernels["QLinearConv"] > 20
    else:
        assert check(in_uint8(model), batch, tmp_path / "optimised.onnx")[0] > 0.9999
