"""What is compiled, and what the engine is called: found out before anything is built."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image
from program import run_here
from small_classifier import classifier

from edgecnn.backends import BACKENDS
from edgecnn.compile import BatchRange, CompileRequest, compile_file
from edgecnn.compile.build_engine import engine_path
from edgecnn.compile.fastest_engine import compile_fastest
from edgecnn.errors import ArtifactError, DataError, EngineError, InvalidValueError
from edgecnn.runtime import load


@pytest.fixture
def unbuilt(monkeypatch):
    """Nothing is built: what is refused is refused before."""

    def build(*_):
        raise AssertionError("built for nothing")

    for row in BACKENDS:
        monkeypatch.setattr(row.builder.replace(":", "."), build)


@pytest.mark.parametrize("backend", ["auto", "ort", "openvino", "tensorrt"])
def test_a_file_that_is_not_there_is_one_line(tmp_path, backend):
    done = run_here("compile", str(tmp_path / "none.onnx"), "--backend", backend)
    assert done.returncode == 1 and done.stdout == ""
    assert [line for line in done.stderr.splitlines() if line.startswith("error")] == [
        f"error: {tmp_path / 'none.onnx'} is not there"
    ]


@pytest.mark.parametrize("backend", ["auto", "ort"])
def test_a_folder_is_no_model(tmp_path, monkeypatch, backend):
    monkeypatch.chdir(tmp_path)
    done = run_here("compile", ".", "--backend", backend)
    assert done.returncode == 1 and "error: . is a folder, not a model file" in done.stderr


def test_a_file_that_lists_its_weights_as_inputs_is_refused_by_onnx_runtime_alone(tmp_path):
    # Of the first files of the format: 17 weights are inputs, and ONNX Runtime arranges them anew.
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_squeezenet.onnx"
    source = Path(shutil.copy(light, tmp_path / "m.onnx"))
    with pytest.raises(EngineError, match="it lists its weights among its inputs"):
        compile_file(CompileRequest(source, backend="ort"))
    assert compile_file(CompileRequest(source, backend="openvino")).parity.images == 1


@pytest.mark.parametrize("compile_it", [compile_fastest, compile_file])
def test_images_that_cannot_be_used_are_refused_first(exported, tmp_path, unbuilt, compile_it):
    backend = "auto" if compile_it is compile_fastest else "ort"
    with pytest.raises(DataError, match="is not there"):
        compile_it(CompileRequest(exported("lenet5"), tmp_path / "m", backend, check=tmp_path / "none"))
    Image.new("L", (8, 8)).save(tmp_path / "p.png")
    foreign = classifier(tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match="`check` cannot be used"):
        compile_it(CompileRequest(foreign, tmp_path / "m", backend, check=tmp_path))


@pytest.mark.parametrize("inputs", [0, 2])
@pytest.mark.parametrize("backend", ["ort", "openvino", "auto"])
def test_a_network_of_other_inputs_is_refused_first(tmp_path, unbuilt, inputs, backend):
    names = [f"x{index}" for index in range(inputs)]
    node = helper.make_node("Sum", [*names, "c"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in names],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor("c", TensorProto.FLOAT, [1, 3], [1, 2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    compile_it = compile_fastest if backend == "auto" else compile_file
    why = "takes no image at 'x0', but 1 x 3 float32" if inputs else "has no inputs"
    with pytest.raises((ArtifactError, InvalidValueError), match=why):
        compile_it(CompileRequest(tmp_path / "m.onnx", backend=backend))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m.onnx", "m.ort"),
        ("m.v2.onnx", "m.v2.ort"),
        ("m.engine", "m.ort"),
        ("M.ONNX", "M.ort"),
        ("mobilenet_0.25", "mobilenet_0.25.ort"),
        ("m", "m.ort"),
    ],
)
def test_only_the_suffix_of_a_model_is_replaced(tmp_path, name, expected):
    assert engine_path(tmp_path / name, BACKENDS.get("ort")) == tmp_path / expected


def test_a_name_with_a_dot_is_kept_by_auto_and_in_the_hint(tmp_path, monkeypatch):
    monkeypatch.setattr("edgecnn.compile.fastest_engine._SECONDS", 0.1)
    source = classifier(tmp_path / "m.onnx")
    kept = compile_fastest(CompileRequest(source, tmp_path / "m_0.25", threads=1)).kept
    assert kept.path.stem == "m_0.25" and kept.path.is_file()
    with pytest.raises(InvalidValueError) as caught:
        compile_file(CompileRequest(source, tmp_path / "m_0.25", "ort"))
    assert caught.value.hint == "call it m_0.25.ort"


def test_an_empty_batch_is_refused_and_not_left_out(tmp_path):
    done = run_here("compile", str(classifier(tmp_path / "m.onnx")), "--backend", "openvino", "--batch", "")
    assert done.returncode == 1 and "batch 0:0:0 cannot be used" in done.stderr


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_the_precision_of_a_foreign_file_is_found_in_it(tmp_path, precision):
    """By it the check knows how far an engine may be from the file."""
    source = classifier(tmp_path / "m.onnx", precision)
    assert compile_file(CompileRequest(source, backend="ort")).manifest.precision == precision


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_a_network_that_ends_in_a_pooling_is_checked(tmp_path, backend):
    model = onnx.load(classifier(tmp_path / "m.onnx"))
    while model.graph.node[-1].op_type != "GlobalAveragePool":
        model.graph.node.pop()
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("g", TensorProto.FLOAT, ["N", 8, 1, 1]))
    onnx.save(model, tmp_path / "m.onnx")
    done = compile_file(CompileRequest(tmp_path / "m.onnx", backend=backend))
    assert done.parity.images == 32 and done.parity.sqnr_db > 50
    with load(done.path) as engine:
        assert engine.classes == 8


@pytest.mark.parametrize("backend", ["ort", "openvino"])
def test_weights_in_another_file_are_read_and_are_part_of_what_it_was_built_from(tmp_path, backend):
    path = classifier(tmp_path / "m.onnx")
    with load(path) as engine:
        expected = engine(np.ones((1, 3, 16, 16), np.float32))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.data", size_threshold=0)
    done = compile_file(CompileRequest(path, backend=backend))
    with load(done.path) as engine:
        np.testing.assert_allclose(engine(np.ones((1, 3, 16, 16), np.float32)), expected, rtol=1e-4)
    before = done.manifest.engine.parent_sha256
    weights = np.fromfile(tmp_path / "w.data", np.float32)
    (2 * weights).tofile(tmp_path / "w.data")
    assert compile_file(CompileRequest(path, backend=backend)).manifest.engine.parent_sha256 != before


def test_the_batch_of_a_range_is_checked_with_as_many_images_as_it_takes(tmp_path):
    source = classifier(tmp_path / "m.onnx")
    done = compile_file(CompileRequest(source, backend="openvino", batch=BatchRange(5, 6, 7)))
    assert done.parity.images == 32 and done.parity.sqnr_db > 50
