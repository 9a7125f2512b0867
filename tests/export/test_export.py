"""Whole exports, looked at with other tools than the ones that made them."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from program import SMALL, TRAINED, TRAINED_INT8, report, run
from tensorrt_build import build

from edgecnn.artifact import read_manifest
from edgecnn.runtime import load
from edgecnn.tasks.compare import compare

FAST = ("--effort", "fast", "--calib-images", "16")
NETWORKS = {
    "mobilenet": SMALL,
    "mobilenet_v2": ("mobilenet_v2", "--resolution", "96"),
    "resnet18": ("resnet18",),
    "efficientnet_lite0": (*TRAINED, *FAST),
}

EACH_NETWORK = pytest.mark.parametrize(
    "network",
    [pytest.param(name, marks=[] if name == "mobilenet" else pytest.mark.slow) for name in NETWORKS],
)


def int8_share(model: onnx.ModelProto) -> float:
    """Share of the MACs whose input and weight both come out of a DequantizeLinear; counted here anew."""
    model = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*model.graph.value_info, *model.graph.output]
    }
    weights = {item.name: list(item.dims) for item in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    total = covered = 0
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        sources = [made_by.get(name) for name in node.input[:2]]
        quantized = all(source is not None and source.op_type == "DequantizeLinear" for source in sources)
        shape = weights[sources[1].input[0] if sources[1] is not None else node.input[1]]
        macs = int(np.prod(shapes[node.output[0]][1:])) * int(np.prod(shape[1:]))
        total += macs
        covered += macs * quantized
    return covered / total


@EACH_NETWORK
def test_at_least_95_percent_of_the_macs_lie_between_qdq(exported, network):
    path = exported(*NETWORKS[network], "--int8")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    share = int8_share(model)
    assert share >= 0.95
    assert report(path)["quantization"]["int8_mac_share"] == pytest.approx(share)


@EACH_NETWORK
def test_tensorrt_rtx_builds_an_engine_of_int8(exported, network):
    assert build(exported(*NETWORKS[network], "--int8")) > 100_000


@EACH_NETWORK
def test_tensorrt_rtx_builds_an_engine_of_float16(exported, network):
    assert build(exported(*NETWORKS[network], "--fp16")) > 100_000


@EACH_NETWORK
def test_the_report_is_true_of_the_file(exported, network):
    path = exported(*NETWORKS[network], "--int8")
    said, manifest = report(path), read_manifest(path)
    assert said["bytes"] == path.stat().st_size
    assert said["precision"] == manifest.precision == "int8"
    assert said["macs"] == manifest.macs and said["params"] == manifest.params
    weights = [item for item in onnx.load(path).graph.initializer if item.data_type == onnx.TensorProto.INT8]
    assert sum(int(np.prod(item.dims)) for item in weights) > 0.9 * manifest.params
    assert all(np.abs(numpy_helper.to_array(item).astype(int)).max() <= 127 for item in weights)


def test_a_float_file_equals_pytorch(exported):
    parity = report(exported(*SMALL))["parity"]
    assert parity["sqnr_db"] > 80 and parity["top1_agreement"] == 1 and parity["reference_classes"] > 3


def test_half_precision_is_near_pytorch_with_float32_at_its_ends(exported):
    path = exported(*SMALL, "--fp16")
    model = onnx.load(path)
    assert 30 < report(path)["parity"]["sqnr_db"] < 90
    ends = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert ends == [onnx.TensorProto.FLOAT] * 2
    assert onnx.TensorProto.FLOAT not in {item.data_type for item in model.graph.initializer}
    step = next(step for step in read_manifest(path).lineage if step.what == "float16")
    assert step.parameters["kept"] == {} and step.parameters["count"] == 64


@pytest.mark.parametrize(
    "options",
    [
        TRAINED_INT8,
        pytest.param(TRAINED, marks=pytest.mark.slow),
        pytest.param((*TRAINED, *FAST, "--int8"), marks=pytest.mark.slow),
    ],
    ids=["int8 cpu", "float32", "int8"],
)
def test_real_weights_name_the_photograph(exported, coffee, options):
    with load(exported(*options)) as engine:
        best = engine.predict(coffee, top=1)[0][0]
    assert best.label == "espresso" and best.probability >= 0.90


def test_raw_frames_give_the_answers_of_normalised_input(exported, coffee):
    photos = [coffee, coffee.with_name("chelsea.png"), coffee.with_name("rocket.jpg")]
    answers = []
    for options in ([], ["--input", "uint8"]):
        with load(exported(*SMALL, *options)) as engine:
            answers.append(engine.run(engine.prepare(photos)))
            shape, dtype = engine.input.shape, engine.input.dtype
    assert (shape, dtype) == (("batch", 64, 64, 3), "uint8")
    assert compare(*answers, "frames").sqnr_db > 80


def test_the_cpu_form_leaves_nothing_in_float_but_the_ends(exported, tmp_path):
    """Fused by ONNX Runtime, the network is integer kernels: of float ones the first layer's are left."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    path = exported(*TRAINED_INT8)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(tmp_path / "optimized.onnx").graph.node
    assert {"QLinearConv", "QLinearAdd", "QGemm"} <= {node.op_type for node in nodes}
    kernels = {"Conv", "FusedConv", "Gemm", "Clip", "Relu", "DequantizeLinear"}
    assert [node.op_type for node in nodes if node.op_type in kernels] in (["Conv"], ["FusedConv"])


def test_the_nodes_are_named_like_the_networks_layers(exported):
    names = {node.name for node in onnx.load(exported(*SMALL, "--fp16")).graph.node}
    assert {"conv_stem", "blocks.0.0.conv_dw", "classifier"} <= names


def test_other_images_calibrate_than_check(exported):
    quantize, check = report_lineage(exported(*SMALL, "--int8"))
    assert quantize.parameters["count"] == 64 and check.metrics["images"] == 32
    assert len(quantize.parent) == 64


def report_lineage(path):
    steps = {step.what: step for step in read_manifest(path).lineage}
    return steps["quantize"], steps["check"]


@pytest.mark.parametrize("command", ["quantize", pytest.param("export", marks=pytest.mark.slow)])
def test_the_same_command_writes_the_same_bytes(command, exported, tmp_path):
    words = {
        "export": ("export", "lenet5", "--int8"),
        "quantize": ("quantize", str(exported("lenet5")), "--check-images", "16"),
    }[command]
    contents = set()
    # In a new Python sets have another order; it imports PyTorch for an export, which takes seconds.
    for folder, environment in (("a", os.environ), ("b", {**os.environ, "PYTHONHASHSEED": "1"})):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "m.onnx"
        done = run(*words, "--calib-images", "16", "-o", str(path), env={**environment})
        assert done.returncode == 0, done.stderr
        contents.add(path.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--classes", "7", "--channels", "1", "--rho", "2", "--batch", "3", "--opset", "20"],
        ["--alpha", "0.5", "--ranges", "minmax", "--target", "jetson-orin-nano"],
    ],
    ids=" ".join,
)
def test_options_reach_the_file(tmp_path, options):
    path = tmp_path / "m.onnx"
    done = run("export", "lenet5", "--int8", *options, "-o", str(path))
    assert done.returncode == 0, done.stderr
    model, manifest = onnx.load(path), read_manifest(path)
    shape = manifest.inputs[0].shape
    assert manifest.outputs[0].shape[1] == (7 if "--classes" in options else 10)
    assert shape[1] == 1 and shape[2] == (64 if "--rho" in options else 32)
    assert shape[0] == (3 if "--batch" in options else "batch")
    assert model.opset_import[0].version == (20 if "--opset" in options else 18)
    assert manifest.target == ("jetson-orin-nano" if "--target" in options else "portable")


def test_a_folder_calibrates_and_the_rest_of_it_checks(tmp_path, coffee):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(20):
        Image.open(coffee).crop((index * 10, 0, index * 10 + 200, 200)).save(folder / f"{index}.png")
    done = run("export", "lenet5", "--int8", "--calib", str(folder), "-o", str(tmp_path / "m.onnx"))
    assert done.returncode == 0, done.stderr
    quantize, check = report_lineage(tmp_path / "m.onnx")
    assert quantize.parameters["images"] == str(folder)
    assert (quantize.parameters["count"], check.metrics["images"]) == (16, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "decibels", "agreement"), [("cpu", 22.5, 0.95), ("portable", 20.5, 0.93)])
def test_a_trained_depthwise_network_keeps_its_accuracy(target, decibels, agreement, exported, tmp_path):
    source = exported(*TRAINED)
    done = run(
        "quantize", str(source), "-o", str(tmp_path / "q.onnx"), "--target", target,
        "--calib-images", "128", "--check-images", "364", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["parity"]["images"] == 364 and result["quantization"]["int8_mac_share"] >= 0.95
    assert result["parity"]["sqnr_db"] >= decibels and result["parity"]["top1_agreement"] >= agreement
