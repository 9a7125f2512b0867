import dataclasses
import hashlib
import http.server
import json
import os
import pickle
import re
import subprocess
import sys
import threading

import pytest
import torch
from safetensors.torch import save_file

from edgecnn import zoo
from edgecnn.artifact import read_manifest
from edgecnn.errors import ArtifactError, WeightsError
from edgecnn.zoo import torchvision_files
from edgecnn.zoo.catalog import ARCHITECTURES
from edgecnn.zoo.weights import find


@pytest.fixture(scope="module")
def state():
    return zoo.create("lenet5", seed=7).state_dict()


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_training_loops_checkpoint_without_batch_counters_loads(tmp_path, key):
    state = zoo.create("mobilenet", alpha=0.25, seed=7).state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save({key: old, "epoch": 3}, tmp_path / "w.pth")
    network = zoo.create("mobilenet", alpha=0.25, weights=str(tmp_path / "w.pth"))
    assert torch.equal(network.conv_stem.weight, state["conv_stem.weight"])


@pytest.mark.parametrize("kind", ["safetensors", "pth", "pth with a state_dict inside"])
def test_a_checkpoint_loads(tmp_path, state, kind):
    path = tmp_path / f"w.{kind.split()[0]}"
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if "inside" in kind else state, path)
    network = zoo.create("lenet5", weights=str(path))
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


class _Exploit:
    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize("wrap", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run_it(tmp_path, capsys, wrap):
    path = tmp_path / "w.pth"
    if wrap:
        torch.save({"a": _Exploit()}, path)
    else:
        path.write_bytes(pickle.dumps(_Exploit()))
    with pytest.raises(WeightsError, match=r"could run code|not a readable"):
        zoo.create("lenet5", weights=str(path))
    assert "code ran" not in capsys.readouterr().out


def test_a_checkpoint_of_another_network_names_the_first_keys(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"lacks conv_stem\.weight.*has unknown classifier\.0"):
        zoo.create("mobilenet", weights=str(tmp_path / "w.safetensors"))


def test_a_checkpoint_of_another_width_names_the_first_shapes(tmp_path):
    save_file(zoo.create("mobilenet", alpha=0.5).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"conv_stem\.weight is \(16, 3, 3, 3\), not \(8, 3, 3, 3\)"):
        zoo.create("mobilenet", alpha=0.25, weights=str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("content", [b"", b"some text", bytes(1000)])
def test_a_damaged_checkpoint_is_refused(tmp_path, suffix, content):
    (tmp_path / f"w.{suffix}").write_bytes(content)
    with pytest.raises(WeightsError):
        zoo.create("lenet5", weights=str(tmp_path / f"w.{suffix}"))


def test_a_checkpoint_that_is_not_there_says_what_weights_takes():
    with pytest.raises(WeightsError, match=r"the checkpoint nowhere.* is not there") as caught:
        zoo.create("lenet5", weights="nowhere")
    assert "imagenet" in caught.value.hint


@pytest.mark.parametrize("name", ["9" * 400, "a\x00b", "w.pth#" + "x" * 400])
def test_a_name_that_no_file_can_have_is_no_checkpoint(name):
    words = "is (not there|out of reach: the name is too long)"
    with pytest.raises(WeightsError, match="the checkpoint .* " + words):
        zoo.create("lenet5", weights=name)
    with pytest.raises(ArtifactError, match=words):
        read_manifest(name)


def test_no_imagenet_weights_are_known_for_some():
    with pytest.raises(WeightsError, match="no ImageNet weights are known for shufflenet_v1_g3"):
        zoo.create("shufflenet_v1_g3", weights="imagenet")


def test_the_packaged_imagenet_weights_fill_every_tensor():
    network = zoo.create("efficientnet_lite0", weights="imagenet")
    assert float(network.bn1.running_var.std()) > 0.1
    assert float(network.classifier.weight.detach().abs().sum()) > 0


#: Of the repository of the tests: branch, tag and commit.
COMMITS = {"main": "0" * 40, "v1": "1" * 40, "1" * 40: "1" * 40}


@pytest.fixture(scope="module")
def hub(tmp_path_factory, state):
    """What SOURCES gave, of a server on loopback that answers as the hub does for one repository."""
    tmp_path = tmp_path_factory.mktemp("hub")
    file = tmp_path / "model.safetensors"
    save_file(state, file)
    content, etag = file.read_bytes(), hashlib.sha256(file.read_bytes()).hexdigest()

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, body: bytes | None):
            revision = self.path.partition("/someone/lenet/resolve/")[2].partition("/")[0]
            known = revision in COMMITS and self.path.split("?")[0].endswith("/model.safetensors")
            self.send_response(200 if known else 404)
            if known:
                self.send_header("ETag", f'"{etag}"')
                self.send_header("X-Repo-Commit", COMMITS[revision])
                self.send_header("Content-Length", str(len(content)))
            else:
                missing = "EntryNotFound" if revision in COMMITS else "RevisionNotFound"
                missing = missing if "/someone/lenet/" in self.path else "RepoNotFound"
                self.send_header("X-Error-Code", missing)
                self.send_header("Content-Length", "0")
            self.end_headers()
            if known and body is not None:
                self.wfile.write(body)

        def do_HEAD(self):
            self.answer(None)

        def do_GET(self):
            self.answer(content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # In a process of its own: the library reads its settings once, when it is imported.
    settings = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, *SOURCES],
        env={**os.environ, **settings}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr
    return dict(zip(SOURCES, map(json.loads, done.stdout.splitlines()), strict=True))


REVISIONS = ["", "@main", "@v1", f"@{'1' * 40}"]
SOURCES = [*(f"hf:someone/lenet{revision}" for revision in REVISIONS),
           "hf:someone/lenet@v2", "hf:someone/else", "hf:a/b/c/d"]  # fmt: skip
#: Print what each source gave: the commit and the sum of a tensor, or the error.
_OPEN = """
import json, sys
from edgecnn.errors import EdgecnnError
from edgecnn.zoo import NetworkSpec
from edgecnn.zoo.open_network import open_network
for source in sys.argv[1:]:
    try:
        opened = open_network(NetworkSpec("lenet5", weights=source))
        weight = opened.network.features[0].weight
        print(json.dumps([opened.lineage[-1].parameters["pinned"], weight.sum().item()]))
    except EdgecnnError as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


@pytest.mark.parametrize("revision", REVISIONS)
def test_weights_come_from_the_hub_and_the_lineage_names_their_commit(hub, state, revision):
    pinned, total = hub[f"hf:someone/lenet{revision}"]
    assert total == pytest.approx(float(state["features.0.weight"].sum()))
    assert pinned == f"hf:someone/lenet@{COMMITS[revision.removeprefix('@') or 'main']}"


@pytest.mark.parametrize(
    "source, message",
    [
        ("hf:someone/lenet@v2", "hf:someone/lenet has no revision v2"),
        ("hf:someone/else", "cannot get hf:someone/else from http://127.0.0.1"),
        ("hf:a/b/c/d", "cannot get hf:a/b/c/d"),
    ],
    ids=["revision", "repository", "name"],
)
def test_what_is_not_on_the_hub_is_one_clear_error(hub, source, message):
    kind, text = hub[source]
    assert kind == "WeightsError" and text.startswith(message)


def test_every_hub_entry_of_the_catalogue_names_a_revision_and_every_packaged_one_its_hash():
    for row in map(ARCHITECTURES.get, ARCHITECTURES.names()):
        kind = (row.imagenet or "").partition(":")[0]
        assert kind != "hf" or row.imagenet.count("@") == 1, row.name
        assert kind != "package" or len(row.imagenet_sha256) == 64, row.name
        assert kind != "torchvision" or re.fullmatch("[0-9a-f]{8,10}", torchvision_files.digits(row.imagenet))


@pytest.fixture
def torchvision_server(tmp_path, monkeypatch):
    """A server on loopback in the place of torchvision's, with a cache that is empty; gives its folder."""
    folder = tmp_path / "server"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(torchvision_files, "SERVER", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    yield folder
    server.shutdown()
    server.server_close()


def test_a_file_of_torchvision_is_fetched_once_and_known_by_the_digits_of_its_name(torchvision_server, state):
    torch.save(state, torchvision_server / "file")
    digits = hashlib.sha256((torchvision_server / "file").read_bytes()).hexdigest()[:8]
    (torchvision_server / "file").rename(torchvision_server / f"lenet-{digits}.pth")
    row = dataclasses.replace(ARCHITECTURES.get("lenet5"), imagenet=f"torchvision:lenet-{digits}.pth")
    network = zoo.create(row, weights="imagenet")
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    (torchvision_server / f"lenet-{digits}.pth").unlink()
    cached = find(row, "imagenet")
    assert cached.sha256.startswith(digits), "the second time nothing is fetched"
    cached.path.write_bytes(b"cut off")
    with pytest.raises(WeightsError, match=f"not those that edgecnn knows: .* not {digits}"):
        find(row, "imagenet")


@pytest.mark.parametrize("content", [None, b"another"], ids=["missing", "another"])
def test_a_file_of_torchvision_that_is_not_there_or_another_one_is_one_clear_error(
    torchvision_server, content
):
    if content is not None:
        (torchvision_server / "lenet-01234567.pth").write_bytes(content)
    row = dataclasses.replace(ARCHITECTURES.get("lenet5"), imagenet="torchvision:lenet-01234567.pth")
    with pytest.raises(
        WeightsError, match=r"cannot get http://127.0.0.1.*lenet-01234567.pth: .*(404|hash)"
    ) as caught:
        zoo.create(row, weights="imagenet")
    assert "put the file there" in caught.value.hint


@pytest.mark.slow
def test_the_files_are_those_that_torchvision_names(torchvision):
    names = {
        weights.value.url.rpartition("/")[2]
        for name in torchvision.models.list_models()
        for weights in torchvision.models.get_model_weights(name)
    }
    assert set(torchvision_files.FILES.values()) <= names


def test_a_catalogue_file_that_changed_is_refused():
    row = dataclasses.replace(ARCHITECTURES.get("efficientnet_lite0"), imagenet_sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"not those that edgecnn knows: their SHA-256 is 579344248a93"):
        find(row, "imagenet")
