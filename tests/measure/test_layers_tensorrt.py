"""What TensorRT tells of its layers' times, by the network's layers (the library is fake_gpu's)."""

import dataclasses

import pytest
from fake_gpu import driver, install
from measure.test_layers import RECORDS
from small_classifier import classifier

from edgecnn.artifact import LayerRecord, read_manifest
from edgecnn.compile import CompileRequest, compile_file
from edgecnn.measure.layers import tensorrt_layers
from edgecnn.measure.layers.layer_times import by_layer, profile_layers
from edgecnn.measure.layers.tensorrt_layers import kernels
from edgecnn.measure.real_inputs import real_input
from edgecnn.runtime import cuda, load
from edgecnn.runtime.tensorrt_inspector import layers, nodes


def rows(times, records=RECORDS, inspected=()):
    """Milliseconds by layer of one inference."""
    found = by_layer(
        kernels([{name: ms / 1e3 for name, ms in times.items()}], inspected, records), records, 1
    )
    return {layer.name: pytest.approx(layer.seconds * 1e3) for layer in found}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("conv1", ("conv1",)),
        ("conv1 + relu1", ("conv1", "relu1")),
        ("conv1 || conv2", ("conv1", "conv2")),
        ("PWN(relu1)", ("relu1",)),
        ("conv1 + PWN(PWN(sigmoid), mul)", ("conv1", "sigmoid", "mul")),
        ("{ForeignNode[a...b]}", ("a...b",)),
        ("ForeignNode[a.0...b]", ("a.0...b",)),
        ("Reformatting CopyNode for Input Tensor 0 to conv1", ()),
    ],
)
def test_names_are_taken_apart(name, expected):
    assert nodes(name) == expected


def test_a_fused_layer_is_that_of_its_convolution():
    assert rows({"stem + stem.act": 2.0, "block.conv + block + block.act": 3.0, "head": 1.0}) == {
        "stem": 2.0,
        "block.conv": 3.0,
        "head": 1.0,
    }


def test_a_change_of_layout_belongs_to_no_layer():
    found = rows({"Reformatting CopyNode for Input Tensor 0 to stem": 0.5, "stem + stem.act": 2.0})
    assert found == {"between layers: Reformat": 0.5, "stem": 2.0}


def test_a_part_that_was_fused_as_a_whole_is_one_row_with_all_its_arithmetic():
    found = by_layer(
        kernels([{"{ForeignNode[stem...block.act]}": 0.003, "head": 0.001}], (), RECORDS), RECORDS, 2
    )
    assert [(layer.name, layer.macs) for layer in found] == [("stem ... block.conv", 600), ("head", 60)]


def test_of_a_part_with_an_end_that_is_no_node_the_other_counts():
    assert rows({"{ForeignNode[(Unnamed Layer* 6) [Constant]...head]}": 1.0}) == {"head": 1.0}


def test_two_convolutions_that_were_merged_share_a_row():
    records = {name: LayerRecord("Conv", 5, 1, 1, 1, f"{name}_out", ()) for name in ("a", "b", "c")}
    assert rows({"a || b": 2.0, "c": 1.0}, records) == {"a ... b": 2.0, "c": 1.0}


@pytest.mark.parametrize("order", [("stem_0", "rescale", "head_1"), ("rescale", "head_1", "stem_0")])
def test_a_helper_between_two_convolutions_belongs_to_the_first(order):
    inspected = [
        {"name": "rescale", "kind": "kgen", "onnx": ["head", "head/weight/quantize", "stem.act", "stem"]},
        {"name": "stem_0", "kind": "correlation", "onnx": ["stem"]},
        {"name": "head_1", "kind": "correlation", "onnx": ["head"]},
    ]
    times = {"stem_0": 2.0, "rescale": 0.5, "head_1": 1.0}
    found = rows({name: times[name] for name in order}, inspected=inspected)
    assert found == {"stem": 2.5, "head": 1.0}


def test_what_names_do_not_tell_the_inspector_does():
    text = (
        "Name: __myl_Fc_myl0_3, LayerType: gemm, Inputs: [], Outputs: [], TacticName: x, StreamId: 0,"
        " Metadata: [ONNX Layer: head][ONNX Layer: head/bias]"
    )
    (found,) = by_layer(kernels([{"__myl_Fc_myl0_3": 1e-3}], layers(text), RECORDS), RECORDS, 1)
    assert (found.name, found.operator, found.macs) == ("head", "gemm", 30)


def test_a_layer_that_ran_twice_in_an_inference_counts_twice_and_one_that_did_not_counts_nothing():
    first, second = kernels([{"stem": 1.0}, {"stem": 1.0, "head": 2.0}], (), RECORDS)
    assert first.seconds.tolist() == [1.0, 1.0] and second.seconds.tolist() == [0.0, 2.0]


def test_without_a_table_layers_keep_the_names_of_their_nodes():
    assert rows({"conv1 + relu1": 1.0, "Reformatting CopyNode for Output Tensor 0 to x": 2.0}, {}) == {
        "conv1": 1.0,
        "between layers: Reformat": 2.0,
    }


@pytest.mark.parametrize(
    "options", [pytest.param((), marks=pytest.mark.slow), ("--int8",)], ids=["float32", "int8"]
)
def test_every_layer_with_weights_has_a_row_of_its_own_in_a_real_engine(
    exported, tmp_path, monkeypatch, options
):
    pytest.importorskip("tensorrt_rtx", reason="no wheel for this platform")
    monkeypatch.setattr(cuda, "LIBRARY", "libcuda_absent.so.1")
    source = exported("resnet18", "--alpha", "0.25", "--resolution", "64", *options)
    request = CompileRequest(source, tmp_path / "m.engine", "tensorrt-rtx", sm=("8.9",))
    inspected = compile_file(request).layers
    records = read_manifest(source).layers
    found = by_layer(kernels([{row["name"]: 1e-3 for row in inspected}], inspected, records), records, 1)
    weighted = {name: record.macs for name, record in records.items() if record.macs}
    assert {row.name: row.macs for row in found if row.macs} == weighted


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def engine(request, tmp_path, monkeypatch):
    fake = driver(tmp_path, monkeypatch)
    version = {"tensorrt": "10.3.0", "tensorrt-rtx": "1.7.1"}[request.param]
    trt = install(tmp_path, monkeypatch, fake, request.param, version)
    path = compile_file(
        CompileRequest(classifier(tmp_path / "m.onnx"), tmp_path / "m.engine", request.param)
    ).path
    with load(path) as opened:
        opened.manifest = dataclasses.replace(opened.manifest, layers=RECORDS)
        opened.trt, trt.live = trt, fake.fake_live
        yield opened
    assert fake.fake_live() == 0, "something was not freed"


def test_an_engines_layers_are_timed_by_the_library(engine):
    engine.trt.layer_times[:] = [("stem + stem.act", 0.25), ("x_1", 0.5), ("stem + stem.act", 0.25)]
    engine.trt.layer_information = (
        "Layers:\nName: x_1, LayerType: conv, Inputs: [], Outputs: [], Metadata: [ONNX Layer: block.conv]"
    )
    found = profile_layers(engine, seconds=0.1)
    assert [(row.name, row.operator) for row in found.layers] == [("stem", "layer"), ("block.conv", "conv")]
    assert [row.seconds for row in found.layers] == pytest.approx([0.5e-3, 0.5e-3])
    assert found.runs >= 20


def test_timing_layers_leaves_the_engines_own_inferences_alone(engine):
    engine.trt.layer_times[:] = [("stem", 1.0)]
    profile_layers(engine, seconds=0.1)
    assert engine.launches_graph and all(context._graph is not None for context in engine._idle)


def test_the_context_of_the_clock_is_freed_at_its_end(engine):
    live = engine.trt.live
    image = real_input(engine, None)
    engine(image)
    before = live()
    profiler = tensorrt_layers.TensorRtProfiler(engine)
    profiler.run(image)
    assert live() > before
    profiler.close()
    assert live() == before
