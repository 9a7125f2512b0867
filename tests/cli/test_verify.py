"""`edgecnn verify`: a lineage is run again, and the bytes are compared."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from program import run_here

from edgecnn import request_json
from edgecnn.artifact import read_manifest
from edgecnn.compile.build_engine import compile_file
from edgecnn.compile.compile_request import BatchRange, CompileRequest
from edgecnn.compress.prune.prune_file import prune_file
from edgecnn.compress.prune.prune_request import PruneRequest
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.errors import ArtifactError
from edgecnn.export import ExportRequest, export
from edgecnn.quantize.quantize_file import quantize_file
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.verify import DIFFERS, SAME, UNKNOWN, verify
from edgecnn.zoo import NetworkSpec, checkpoint
from edgecnn.zoo.open_network import open_network


def lenet(**options):
    return NetworkSpec("lenet5", num_classes=7, **options)


@pytest.fixture
def pruned(tmp_path):
    path = tmp_path / "p.safetensors"
    prune_file(PruneRequest(lenet(seed=3), path, target_macs="0.5x", align=1, measure=False))
    return path


def test_a_step_that_gives_the_same_bytes(pruned):
    done = run_here("verify", str(pruned))
    assert done.returncode == 0 and "same bytes" in done.stdout


def test_a_file_that_was_changed_differs_and_exit_code_3_says_so(pruned):
    content = bytearray(pruned.read_bytes())
    content[-1] ^= 1
    pruned.write_bytes(content)
    done = run_here("verify", str(pruned), "--json")
    (step,) = json.loads(done.stdout)["steps"]
    assert done.returncode == 3 and step["verdict"] == DIFFERS and "the same" in step["detail"]


def test_sizes_that_a_measurement_chose_cannot_come_again(pruned):
    manifest = read_manifest(pruned)
    step = dataclasses.replace(manifest.lineage[-1], metrics={"latency_ms": 1.0})
    checkpoint.save(
        pruned,
        checkpoint.load(pruned).network,
        dataclasses.replace(manifest, lineage=(*manifest.lineage[:-1], step)),
    )
    (answer,) = verify(pruned).answers
    assert answer.verdict == UNKNOWN and "latency" in answer.detail


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A pruned checkpoint, what was exported from it, and an engine of that."""
    folder = tmp_path_factory.mktemp("chain")
    pruned, exported, engine = folder / "p.safetensors", folder / "m.onnx", folder / "e.xml"
    prune_file(PruneRequest(lenet(seed=3), pruned, target_macs="0.5x", align=1, measure=False))
    export(ExportRequest(NetworkSpec(str(pruned)), exported, calib_images=8))
    compile_file(CompileRequest(exported, engine, "openvino"))
    return folder


@pytest.mark.slow
def test_every_step_of_a_chain_gives_the_same_bytes(chain):
    found = verify(chain / "e.xml")
    assert [(answer.step, answer.verdict) for answer in found.answers] == [
        ("prune", SAME), ("trace", SAME), ("compile", SAME)
    ]  # fmt: skip
    assert found.proven and not found.differs, found


def test_other_libraries_are_named(pruned, monkeypatch):
    import edgecnn.verify

    found = read_manifest(pruned)
    assert "torch" in found.versions
    monkeypatch.setattr(
        edgecnn.verify, "_version", lambda name: "0.0" if name == "torch" else found.versions[name]
    )
    step = found.lineage[-1]
    assert edgecnn.verify._why(step, found, found) == f"torch is 0.0, and was {found.versions['torch']}"


@pytest.mark.slow
def test_what_a_step_was_made_from_and_is_not_there_is_named(exported, tmp_path):
    source, path = exported("lenet5"), tmp_path / "q.onnx"
    made = tmp_path / "f.onnx"
    made.write_bytes(source.read_bytes())
    quantize_file(QuantizeRequest(made, path, effort="fast", calib_images=8))
    assert [answer.verdict for answer in verify(path).answers] == [SAME, SAME]
    lonely = tmp_path / "elsewhere" / "q.onnx"
    lonely.parent.mkdir()
    lonely.write_bytes(path.read_bytes())
    assert [answer.verdict for answer in verify(lonely).answers] == [SAME, SAME]  # both are made again


@pytest.mark.slow
def test_weights_that_are_gone_or_others_are_named(tmp_path):
    weights, path = tmp_path / "w.pth", tmp_path / "m.onnx"
    torch.save(open_network(lenet(seed=5)).network.state_dict(), weights)
    export(ExportRequest(lenet(weights=str(weights)), path))
    assert verify(path).proven
    torch.save(open_network(lenet(seed=6)).network.state_dict(), weights)
    (answer,) = verify(path).answers
    assert answer.verdict == UNKNOWN and "are others now" in answer.detail
    weights.unlink()
    done = run_here("verify", str(path))
    assert done.returncode == 0 and "are not there" in done.stdout and "not proven" in done.stdout


def test_a_file_without_a_lineage_is_one_clear_error(tmp_path):
    from small_classifier import classifier

    done = run_here("verify", str(classifier(tmp_path / "m.onnx")))
    assert done.returncode == 1 and "does not say how it was made" in done.stderr


OUT = Path("out.safetensors")


@pytest.mark.parametrize(
    "request_",
    [
        ExportRequest(lenet(alpha=0.5), Path("out.onnx"), "int8", calib=Path("photos"), batch=2),
        PruneRequest(lenet(), OUT, target_latency="0.6x", data="digits", epochs=3),
        PruneRequest(lenet(), OUT, sparsity="2:4"),
        CompileRequest(Path("m.onnx"), Path("e.xml"), "openvino", sm=("8.6",), batch=BatchRange(1, 2, 3)),
    ],
    ids=["export", "prune to a latency", "sparse", "compile"],
)
def test_a_request_comes_back_from_json(request_):
    values = json.loads(json.dumps(request_json.to_json(request_, "output")))
    names = {"NetworkSpec": NetworkSpec, "TrainOptions": TrainOptions}
    again = request_json.from_json(type(request_), values, names, output=request_.output)
    assert again == request_


def test_what_an_older_version_cannot_ask_is_one_clear_error():
    with pytest.raises(ArtifactError, match="cannot ask"):
        request_json.from_json(CompileRequest, {"colour": "blue"}, {}, source=Path("m.onnx"))
