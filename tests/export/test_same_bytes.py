"""What is made twice from the same is the same to the byte: a lineage can be proven."""

import hashlib
import itertools

import pytest

from edgecnn.compile.build_engine import compile_file
from edgecnn.compile.compile_request import CompileRequest
from edgecnn.compress.prune.prune_file import prune_file
from edgecnn.compress.prune.prune_request import PruneRequest
from edgecnn.export import ExportRequest, export
from edgecnn.quantize.quantize_file import quantize_file
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.zoo import NetworkSpec


@pytest.fixture
def ticking(monkeypatch):
    """A clock on which nothing takes as long as the time before."""
    steps = itertools.accumulate(itertools.count(1))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(steps)))


def lenet():
    return NetworkSpec("lenet5", num_classes=7)


def made_twice(tmp_path, name, make):
    """Make a file in two folders; return the hashes of all that lies there."""
    found = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        make(folder / name)
        files = sorted(folder.iterdir())
        found.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    return found


SLOW = pytest.mark.slow


@SLOW
@pytest.mark.parametrize("precision", ["int8", "float32", "float16"])
def test_an_exported_file(tmp_path, ticking, precision):
    first, second = made_twice(
        tmp_path, "m.onnx", lambda path: export(ExportRequest(lenet(), path, precision, calib_images=8))
    )
    assert first == second


@SLOW
def test_a_quantized_file(tmp_path, ticking, exported):
    source = exported("lenet5")
    first, second = made_twice(
        tmp_path,
        "q.onnx",
        lambda path: quantize_file(QuantizeRequest(source, path, effort="fast", calib_images=8)),
    )
    assert first == second


@SLOW
def test_a_pruned_network_though_its_latency_was_measured(tmp_path):
    def make(path):
        prune_file(PruneRequest(lenet(), path, target_macs="0.5x", seconds=0.05, align=1))

    first, second = made_twice(tmp_path, "p.safetensors", make)
    assert first == second


def test_an_engine_of_openvino_and_its_record(tmp_path, ticking, exported):
    source = exported("lenet5")
    first, second = made_twice(
        tmp_path, "e.xml", lambda path: compile_file(CompileRequest(source, path, "openvino"))
    )
    assert first == second and first.keys() == {"e.xml", "e.bin", "e.xml.json"}
