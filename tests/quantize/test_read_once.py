"""A file that is worked on is read once, and hashed from what was read."""

import pytest
from opened import reads

from edgecnn import files
from edgecnn.artifact import read_manifest
from edgecnn.quantize.quantize_file import quantize_file
from edgecnn.quantize.quantize_request import QuantizeRequest, RequantizeRequest
from edgecnn.quantize.requantize import requantize_file


@pytest.fixture(scope="module")
def made(exported, tmp_path_factory):
    """A float file, what was made of it, and how often each was opened for that."""
    source, output = exported("lenet5"), tmp_path_factory.mktemp("once") / "int8.onnx"
    few = {"effort": "fast", "calib_images": 8, "check_images": 8}
    with reads() as counted:
        written = quantize_file(QuantizeRequest(source, output, **few))
    return source, written, counted


def test_a_file_is_opened_once_to_be_quantized(made):
    source, written, counted = made
    assert counted[source.resolve()] == 1
    assert written.path.resolve() not in counted, "what was written is hashed from memory"


def test_what_was_read_is_what_the_lineage_names(made):
    source, written, _ = made
    assert written.manifest.lineage[-1].parent == files.sha256(source)
    assert written.sha256 == files.sha256(written.path)


def test_a_file_is_opened_once_to_be_written_for_another_target(made, tmp_path):
    _, written, _ = made
    with reads() as counted:
        other = requantize_file(RequantizeRequest(written.path, tmp_path / "other.onnx", "cpu"))
    assert counted[written.path.resolve()] == 1
    assert read_manifest(other.path).lineage[-1].parent == written.sha256
