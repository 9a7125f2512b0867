import numpy as np
import pytest
from program import SMALL
from program import run_here as run

from edgecnn import zoo
from edgecnn.artifact import LayerRecord, TensorSpec, read_manifest
from edgecnn.errors import EngineError
from edgecnn.measure.layers import layers_plot, ort_layers
from edgecnn.measure.layers.layer_times import Kernel, LayerProfile, by_layer, profile_layers
from edgecnn.measure.layers.roofline import Roofline
from edgecnn.runtime import load

#: Two convolutions whose sum is activated, with a skip around the second.
RECORDS = {
    "stem": LayerRecord("Conv", 100, 9, 50, 60, "conv2d", ()),
    "stem.act": LayerRecord("Relu", 0, 0, 60, 60, "relu", ("stem",)),
    "block.conv": LayerRecord("Conv", 200, 18, 60, 60, "conv2d_1", ("stem.act",)),
    "block": LayerRecord("Add", 0, 0, 120, 60, "add", ("block.conv", "stem.act")),
    "block.act": LayerRecord("Relu", 0, 0, 60, 60, "relu_1", ("block",)),
    "head": LayerRecord("Gemm", 30, 33, 10, 3, "logits", ("block.act",)),
}


def kernel(name: str, operator: str, *milliseconds: float, also: tuple[str, ...] = ()) -> Kernel:
    return Kernel((name, *also), operator, np.array(milliseconds or (1.0,)) / 1e3)


def names(*kernels: Kernel) -> list[str]:
    return [layer.name for layer in by_layer(kernels, RECORDS, 1)]


def test_a_kernel_named_after_a_layers_output_is_the_layers():
    assert names(kernel("conv2d_nchwc", "Conv")) == ["stem"]


def test_a_kernel_named_after_the_fused_activation_is_the_layer_before():
    assert names(kernel("relu_nchwc", "Conv"), kernel("block.conv", "Conv")) == ["stem", "block.conv"]


def test_a_kernel_named_after_a_fused_sum_is_the_layer_that_has_no_other():
    assert names(kernel("stem", "Conv"), kernel("relu_1_nchwc", "Conv")) == ["stem", "block.conv"]


def test_of_two_summands_the_one_without_a_kernel_has_the_fused_sum():
    records = {
        "left": LayerRecord("Conv", 5, 1, 1, 1, "a", ()),
        "right": LayerRecord("Conv", 7, 1, 1, 1, "b", ()),
        "sum": LayerRecord("Add", 0, 0, 2, 1, "c", ("left", "right")),
    }
    rows = by_layer([kernel("left", "Conv"), kernel("c_nchwc", "Conv")], records, 1)
    assert [layer.name for layer in rows] == ["left", "right"]


def test_an_activation_that_was_not_fused_stands_for_itself():
    assert names(kernel("stem", "Conv"), kernel("stem.act", "Relu")) == ["stem", "stem.act"]


def test_of_several_origins_the_one_with_weights_counts():
    assert names(kernel("x", "Convolution", also=("block.act", "block.conv/WithoutBiases"))) == ["block.conv"]


def test_what_libraries_append_is_taken_off():
    assert names(kernel("stem_token_3", "QLinearConv"), kernel("fused head", "Gemm")) == ["stem", "head"]


def test_changes_of_layout_are_between_layers_by_operator():
    rows = by_layer([kernel("a", "Reorder"), kernel("stem", "Conv"), kernel("b", "Reorder")], RECORDS, 1)
    assert [layer.name for layer in rows] == ["between layers: Reorder", "stem"]
    assert rows[0].seconds == pytest.approx(0.002)
    assert rows[0].macs_per_second is None


def test_layers_add_up_to_the_middle_half_of_the_runs():
    rows = by_layer([kernel("stem", "Conv", 1, 1, 2, 90), kernel("head", "Gemm", 4, 5, 5, 5)], RECORDS, 1)
    assert sum(layer.seconds for layer in rows) == pytest.approx((6 + 7) / 2 / 1e3)
    assert sum(layer.share for layer in rows) == pytest.approx(1)


def test_the_rate_counts_the_whole_batch():
    (row,) = by_layer([kernel("stem", "Conv", 2)], RECORDS, 8)
    assert row.macs_per_second == pytest.approx(8 * 100 / 0.002)


def test_without_a_table_kernels_keep_their_names():
    (row,) = by_layer([kernel("conv_1", "Conv")], {}, 1)
    assert (row.name, row.macs) == ("conv_1", None)


def test_a_trace_of_onnx_runtime_is_in_microseconds():
    events = [
        {"cat": "Session", "name": "model_run", "dur": 9},
        {"cat": "Node", "name": "conv_kernel_time", "dur": 5, "args": {"op_name": "Conv"}},
        {"cat": "Node", "name": "conv_kernel_time", "dur": 7, "args": {"op_name": "Conv"}},
    ]
    (found,) = ort_layers.kernels(events)
    assert (found.names, found.operator) == (("conv",), "Conv")
    assert found.seconds.tolist() == [5e-6, 7e-6]


def weighted_modules(alpha: float) -> set[str]:
    """Names of the convolution and linear layers, as PyTorch has them."""
    network = zoo.create("mobilenet", alpha=alpha)
    return {name for name, part in network.named_modules() if type(part).__name__ in ("Conv2d", "Linear")}


def check(path) -> LayerProfile:
    with load(path, device="cpu", threads=1) as engine:
        found = profile_layers(engine, seconds=0.1)
        assert {layer.name for layer in found.layers if layer.macs} == weighted_modules(0.25)
        assert sum(layer.macs for layer in found.layers) == engine.manifest.macs
    return found


def test_onnx_runtime_names_every_float_layer_as_pytorch_does(exported):
    check(exported(*SMALL))


def test_onnx_runtime_names_every_int8_layer_as_pytorch_does(exported):
    check(exported(*SMALL, "--int8", "--target", "cpu"))


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_compiled_engines_name_every_layer_as_pytorch_does(exported, tmp_path, backend):
    path = tmp_path / ("m.xml" if backend == "openvino" else "m.ort")
    done = run("compile", str(exported(*SMALL)), "--backend", backend, "-o", str(path))
    assert done.returncode == 0, done.stderr
    check(path)


def test_the_table_has_the_parameters_of_the_folded_network(exported):
    # Folding batch normalization leaves a weight and a bias; the network in PyTorch has weights and no bias.
    records = read_manifest(exported(*SMALL)).layers
    network = zoo.create("mobilenet", alpha=0.25)
    weights = {name: network.get_submodule(name).weight for name in weighted_modules(0.25)}
    expected = {name: weight.numel() + weight.shape[0] for name, weight in weights.items()}
    assert {name: layer.params for name, layer in records.items() if layer.params} == expected


def test_a_foreign_file_that_is_quantized_gets_a_table(exported, tmp_path):
    import onnx

    model = onnx.load(exported(*SMALL))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    output = tmp_path / "q.onnx"
    done = run("quantize", str(tmp_path / "foreign.onnx"), "-o", str(output), "--effort", "fast")
    assert done.returncode == 0, done.stderr
    before, after = (read_manifest(path).layers for path in (exported(*SMALL), output))
    assert {name: layer.macs for name, layer in after.items() if layer.macs} == {
        name: layer.macs for name, layer in before.items() if layer.macs
    }


def test_a_backend_without_a_clock_says_so(exported):
    with load(exported(*SMALL), device="cpu") as engine:
        engine.backend = "tensorrt"
        with pytest.raises(EngineError, match="does not say how long"):
            profile_layers(engine)


def test_the_plot_shows_layers_and_the_point_under_the_roof(tmp_path, exported):
    with load(exported(*SMALL), device="cpu") as engine:
        rows = by_layer([kernel("stem", "Conv", 3), kernel("reorder", "Reorder")], RECORDS, 1)
        found = LayerProfile(engine, rows, 0.004, 20)
    point = Roofline(2.5, 10.0, 100.0, 20.0, "memory", 0.2, "measured")
    layers_plot.draw(found, point, "the network", tmp_path / "p.svg")
    picture = (tmp_path / "p.svg").read_text()
    for text in ("stem", "100% of an inference's 4 ms", "10 GFLOP/s: 20% of the memory limit"):
        assert text in picture


@pytest.mark.slow
def test_layers_add_up_to_the_latency_within_10_percent(exported):
    with load(exported("resnet18"), device="cpu", threads=1) as engine:
        covered = [profile_layers(engine, seconds=3).covered for _ in range(5)]
    assert np.median(covered) == pytest.approx(1, abs=0.1)


def test_a_kernel_that_took_no_time_in_one_run_has_a_time_in_each():
    """OpenVINO does not call it executed then."""
    from types import SimpleNamespace

    from edgecnn.measure.layers.openvino_layers import OpenVinoProfiler

    class Kernel:
        Status = SimpleNamespace(EXECUTED="executed")

        def __init__(self, name: str, seconds: float) -> None:
            self.node_name, self.node_type = name, "Convolution"
            self.status = "executed" if seconds else "not run"
            self.real_time = SimpleNamespace(total_seconds=lambda: seconds)

    profiler = OpenVinoProfiler.__new__(OpenVinoProfiler)
    profiler._runs, profiler._operators, profiler._origins = [], {}, {}
    profiler._specs = [TensorSpec("x", ("n",), "float32", "")]
    profiler._request = SimpleNamespace(infer=lambda array, share_inputs: None)
    for first, second in ((1.0, 0.0), (2.0, 3.0)):
        profiler._request.profiling_info = [Kernel("first", first), Kernel("second", second)]
        profiler.run(np.zeros(1))
    assert {kernel.names[0]: kernel.seconds.tolist() for kernel in profiler.kernels()} == {
        "first": [1.0, 2.0],
        "second": [0.0, 3.0],
    }
