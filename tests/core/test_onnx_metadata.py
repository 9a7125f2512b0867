import onnx
import pytest
from onnx import TensorProto, helper
from small_classifier import classifier

from edgecnn import onnx_metadata
from edgecnn.errors import ArtifactError


@pytest.fixture(scope="module")
def content() -> bytes:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(
        helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    )
    model.metadata_props.add(key="edgecnn", value="{ü}")
    model.metadata_props.add(key="other", value="")
    return model.SerializeToString()


def test_metadata_is_what_the_onnx_package_reads(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    expected = {item.key: item.value for item in onnx.load_from_string(content).metadata_props}
    assert onnx_metadata.read(tmp_path / "m.onnx") == expected == {"edgecnn": "{ü}", "other": ""}


def test_a_file_cut_anywhere_is_refused_or_still_a_whole_model(tmp_path, content):
    path = tmp_path / "m.onnx"
    refused = 0
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            onnx_metadata.read(path)
        except ArtifactError:
            refused += 1
        else:
            # Between two outermost fields a cut cannot be seen; the network must be whole then.
            assert onnx.load_from_string(content[:length]).graph.node
    assert refused > 0.9 * len(content)


@pytest.mark.parametrize(
    "junk", [b"hello, I am a text\n" * 50, b"\x00" * 100, bytes(range(256)), b"PK\x03\x04" * 10, b"\x08"]
)
def test_other_files_are_refused(tmp_path, junk):
    (tmp_path / "m.onnx").write_bytes(junk)
    with pytest.raises(ArtifactError):
        onnx_metadata.read(tmp_path / "m.onnx")


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match="is empty"):
        onnx_metadata.read(tmp_path / "m.onnx")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_contents_are_what_the_onnx_package_reads(tmp_path, precision):
    path = classifier(tmp_path / "m.onnx", precision)
    graph = onnx.load(path).graph
    found = onnx_metadata.contents(path)
    assert found.operators == {node.op_type for node in graph.node}
    assert found.types == {tensor.data_type for tensor in graph.initializer}
    assert (onnx_metadata.FLOAT16 in found.types) == (precision == "float16")
    assert found.files == ()


@pytest.mark.parametrize("together", [True, False])
def test_files_that_hold_weights_are_named(tmp_path, together):
    model = onnx.load(classifier(tmp_path / "m.onnx"))
    onnx.save(
        model,
        tmp_path / "e.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=together,
        location="e.onnx.data" if together else None,
        size_threshold=0,
    )
    expected = {"e.onnx.data"} if together else {tensor.name for tensor in model.graph.initializer}
    assert set(onnx_metadata.contents(tmp_path / "e.onnx").files) == expected
