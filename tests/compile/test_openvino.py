from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.artifact import METADATA_KEY, Manifest, TensorSpec, read_manifest
from edgecnn.compile import BatchRange, CompileRequest, compile_file
from edgecnn.errors import EngineError, InputError, InvalidValueError, OutputError
from edgecnn.runtime import load
from edgecnn.tasks.compare import compare

openvino = pytest.importorskip("openvino")
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def lenet(exported, tmp_path_factory):
    """LeNet-5, compiled with nothing asked for."""
    output = tmp_path_factory.mktemp("lenet") / "l.xml"
    return compile_file(CompileRequest(exported("lenet5"), output, "openvino"))


class _Graph:
    """A network of quantized convolutions, written node by node."""

    def __init__(self, zero: np.integer) -> None:
        self.zero = zero
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def pair(self, tensor: str, scale: float) -> str:
        grid = [
            self.constant(f"{tensor}_scale", np.float32(scale)),
            self.constant(f"{tensor}_zero", self.zero),
        ]
        codes = self.add("QuantizeLinear", [tensor, *grid], f"{tensor}_codes")
        return self.add("DequantizeLinear", [codes, *grid], f"{tensor}_rounded")

    def convolution(self, source: str, name: str, inputs: int, outputs: int, size: int) -> str:
        values = RNG.integers(-127, 128, (outputs, inputs, size, size)).astype(np.int8)
        scale = np.float32(RNG.uniform(0.5, 1, outputs) / 40 / np.sqrt(inputs * size * size))
        parts = [
            self.constant(f"{name}_values", values),
            self.constant(f"{name}_weight_scale", scale),
            self.constant(f"{name}_weight_zero", np.zeros(outputs, np.int8)),
        ]
        weight = self.add("DequantizeLinear", parts, f"{name}_weight", axis=0)
        return self.add("Conv", [source, weight], name, pads=[size // 2] * 4)

    def save(self, path: Path, output: str) -> Path:
        pooled = self.add("GlobalAveragePool", [output], "pooled")
        self.add("Flatten", [pooled], "logits")
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 12, 12])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 8])],
            self.constants,
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
        return path


def _two_branches(path: Path, zero: np.integer, activation: bool, scales=(0.03, 0.03, 0.03)) -> Path:
    """Two convolutions, concatenated, pooled and read by a third; rounded after each step."""
    graph = _Graph(zero)
    image = graph.pair("image", 0.02)
    branches = []
    for name, scale in zip("ab", scales, strict=False):
        branch = graph.convolution(image, name, 3, 16, 3)
        branch = graph.add("Relu", [branch], f"{name}_relu") if activation else branch
        branches.append(graph.pair(branch, scale))
    joined = graph.pair(graph.add("Concat", branches, "joined", axis=1), scales[2])
    pooled = graph.pair(graph.add("MaxPool", [joined], "largest", kernel_shape=[2, 2]), scales[2])
    return graph.save(path, graph.convolution(pooled, "last", 32, 8, 1))


def _fake_quantizers(path: Path) -> int:
    nodes = openvino.Core().read_model(path).get_ops()
    return sum(node.get_type_name() == "FakeQuantize" for node in nodes)


@pytest.mark.parametrize("zero", [np.int8(0), np.uint8(100)])
@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize("scales", [(0.03, 0.03, 0.03), (0.03, 0.02, 0.03), (0.03, 0.03, 0.07)])
def test_int8_branches_that_are_concatenated_compute_what_the_file_says(tmp_path, zero, activation, scales):
    source = _two_branches(tmp_path / "b.onnx", zero, activation, scales)
    done = compile_file(CompileRequest(source, tmp_path / "b.xml", "openvino"))
    images = RNG.uniform(-1.5, 1.5, (8, 3, 12, 12)).astype(np.float32)
    with load(source) as reference, load(done.path) as engine:
        assert compare(reference.run(images), engine.run(images), "the engine").sqnr_db > 40


def _shuffled(path: Path, scale: float = 0.03) -> Path:
    """Two branches whose channels are shuffled and split, rounded after each step: half goes on."""
    graph = _Graph(np.int8(0))
    image = graph.pair("image", 0.02)
    branches = [graph.pair(graph.convolution(image, name, 3, 8, 3), 0.03) for name in "ab"]
    joined = graph.pair(graph.add("Concat", branches, "joined", axis=1), scale)
    groups = graph.constant("groups", np.array([0, 2, 8, 12, 12], np.int64))
    apart = graph.pair(graph.add("Reshape", [joined, groups], "apart"), scale)
    turned = graph.pair(graph.add("Transpose", [apart], "turned", perm=[0, 2, 1, 3, 4]), scale)
    channels = graph.constant("channels", np.array([0, 16, 12, 12], np.int64))
    shuffled = graph.pair(graph.add("Reshape", [turned, channels], "shuffled"), scale)
    graph.nodes.append(helper.make_node("Split", [shuffled], ["kept", "left"], axis=1, num_outputs=2))
    return graph.save(path, graph.convolution(graph.pair("kept", scale), "last", 8, 8, 1))


def test_values_that_are_moved_between_equal_pairs_are_rounded_once(tmp_path):
    done = compile_file(CompileRequest(_shuffled(tmp_path / "s.onnx"), tmp_path / "s.xml", "openvino"))
    # The image and what two convolutions made; the pairs behind each move are the same.
    assert _fake_quantizers(done.path) == 3


def test_pairs_with_another_scale_stay(tmp_path):
    done = compile_file(CompileRequest(_shuffled(tmp_path / "s.onnx", 0.04), tmp_path / "s.xml", "openvino"))
    assert _fake_quantizers(done.path) == 4


def test_a_tensor_that_is_rounded_to_two_grids_is_rounded_to_neither_before(tmp_path):
    graph = _Graph(np.int8(0))
    made = graph.convolution(graph.pair("image", 0.02), "made", 3, 8, 3)
    parts = []
    for name, scale in (("fine", 0.02), ("coarse", 0.2)):
        moved = graph.add("MaxPool", [made], f"{name}_moved", kernel_shape=[3, 3], pads=[1] * 4)
        parts.append(graph.convolution(graph.pair(moved, scale), name, 8, 8, 1))
    source = graph.save(tmp_path / "t.onnx", graph.add("Add", parts, "sum"))
    done = compile_file(CompileRequest(source, tmp_path / "t.xml", "openvino"))
    images = RNG.uniform(-1.5, 1.5, (8, 3, 12, 12)).astype(np.float32)
    with load(source) as reference, load(done.path) as engine:
        assert compare(reference.run(images), engine.run(images), "the engine").sqnr_db > 40


def test_a_tensor_that_is_also_read_unrounded_is_rounded_for_the_others_alone(tmp_path):
    graph = _Graph(np.int8(0))
    made = graph.convolution(graph.pair("image", 0.02), "a", 3, 8, 3)
    moved = graph.add("MaxPool", [made], "moved", kernel_shape=[3, 3], pads=[1] * 4)
    rounded = graph.convolution(graph.pair(moved, 0.2), "b", 8, 8, 1)
    source = graph.save(tmp_path / "r.onnx", graph.add("Add", [made, rounded], "sum"))
    done = compile_file(CompileRequest(source, tmp_path / "r.xml", "openvino"))
    images = RNG.uniform(-1.5, 1.5, (8, 3, 12, 12)).astype(np.float32)
    with load(source) as reference, load(done.path) as engine:
        assert compare(reference.run(images), engine.run(images), "the engine").sqnr_db > 40


@pytest.mark.parametrize("zero", [np.int8(0), np.uint8(0), np.uint8(100)])
@pytest.mark.parametrize("exclude", [0, 1])
@pytest.mark.parametrize("strides", [1, 2])
def test_averages_over_the_border_are_as_the_file_says(tmp_path, zero, exclude, strides):
    graph = _Graph(zero)
    made = graph.convolution(graph.pair("image", 0.02), "made", 3, 8, 3)
    made = graph.pair(graph.add("Relu", [made], "positive"), 0.01)
    average = graph.add(
        "AveragePool", [made], "average", kernel_shape=[3, 3], pads=[1] * 4, strides=[strides] * 2,
        count_include_pad=1 - exclude,
    )  # fmt: skip
    averaged = graph.convolution(graph.pair(average, 0.008), "averaged", 8, 8, 1)
    other = graph.add("MaxPool", [made], "other", kernel_shape=[1, 1], strides=[strides] * 2)
    branches = [averaged, graph.convolution(graph.pair(other, 0.01), "plain", 8, 8, 1)]
    pairs = [graph.pair(graph.add("Relu", [name], f"{name}_relu"), 0.01) for name in branches]
    joined = graph.pair(graph.add("Concat", pairs, "joined", axis=1), 0.01)
    source = graph.save(tmp_path / "p.onnx", graph.convolution(joined, "last", 16, 8, 1))
    done = compile_file(CompileRequest(source, tmp_path / "p.xml", "openvino"))
    images = RNG.uniform(-1.5, 1.5, (8, 3, 12, 12)).astype(np.float32)
    with load(source) as reference, load(done.path) as engine:
        assert compare(reference.run(images), engine.run(images), "the engine").sqnr_db > 40


def test_an_engine_takes_one_image_unless_a_batch_is_asked_for(lenet, exported, tmp_path):
    with load(lenet.path) as engine:
        assert engine.input.shape == (1, 1, 32, 32)
    for batch, shape in (("4", 4), ("1:2:8", "batch")):
        request = CompileRequest(
            exported("lenet5"), tmp_path / "b.xml", "openvino", batch=BatchRange.parse(batch)
        )
        with load(compile_file(request).path) as engine:
            assert engine.input.shape[0] == shape


def test_a_batch_beyond_the_range_is_refused(exported, tmp_path):
    request = CompileRequest(exported("lenet5"), tmp_path / "b.xml", "openvino", batch=BatchRange(1, 2, 3))
    with (
        load(compile_file(request).path) as engine,
        pytest.raises(InputError, match=r"b.xml takes 1 to 3 images at a time, not 4"),
    ):
        engine(np.zeros((4, 1, 32, 32), np.float32))


def test_a_fixed_batch_of_the_file_is_kept(exported, tmp_path):
    request = CompileRequest(exported("lenet5", "--batch", "4"), tmp_path / "b.xml", "openvino")
    with load(compile_file(request).path) as engine:
        assert engine.input.shape[0] == 4


def test_the_record_says_what_was_asked_and_both_files(lenet):
    record = read_manifest(lenet.path).engine
    assert record.backend == "openvino" and record.flags["hint"] == "latency" and not record.flags["bf16"]
    assert set(record.files) == {"l.xml", "l.bin"}
    assert record.built_on["OpenVINO"] == openvino.__version__


def test_an_application_finds_the_manifest_in_the_graph(lenet):
    model = openvino.Core().read_model(lenet.path)
    manifest = Manifest.from_json(model.get_rt_info(["framework", METADATA_KEY]).astype(str))
    assert manifest.architecture == "lenet5" and manifest.preprocessing == lenet.manifest.preprocessing


def test_layers_say_what_is_computed_in_which_precision(lenet):
    kinds = {layer["type"] for layer in lenet.layers}
    assert "Convolution" in kinds and "Const" not in kinds
    assert {layer["precision"] for layer in lenet.layers if layer["type"] == "Convolution"} == {"f32"}


def test_options_of_other_libraries_are_refused(exported, tmp_path):
    request = CompileRequest(exported("lenet5"), tmp_path / "l.xml", "openvino", workspace_mib=8)
    with pytest.raises(InvalidValueError, match=r"OpenVINO knows no `workspace`$"):
        compile_file(request)


def test_a_network_that_openvino_cannot_read_is_refused_in_one_line(tmp_path):
    node = helper.make_node("Unheard", ["x"], ["y"], domain="nowhere")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)],
    )
    # Of a file without a manifest ONNX Runtime is asked first.
    specs = [(TensorSpec(name, (1, 3, 8, 8), "float32", "NCHW"),) for name in "xy"]
    model.metadata_props.add(key=METADATA_KEY, value=Manifest(*specs).to_json())
    onnx.save(model, tmp_path / "u.onnx")
    with pytest.raises(EngineError, match=r"OpenVINO .* refuses .*u.onnx: .*Unheard") as caught:
        compile_file(CompileRequest(tmp_path / "u.onnx", tmp_path / "u.xml", "openvino"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "u.xml").exists()


def test_a_full_temporary_folder_is_not_blamed_on_the_network(exported, tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(openvino, "save_model", full)
    with pytest.raises(OutputError, match=r"OpenVINO cannot write to .*: basic_ios") as caught:
        compile_file(CompileRequest(exported("lenet5"), tmp_path / "m.xml", "openvino"))
    assert "TMPDIR" in caught.value.hint
