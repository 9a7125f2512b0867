"""A user's own network is trained by its own losses or by labels, pruned, distilled, and made again."""

import importlib

import own_code
import pytest
import torch
from program import run_here
from torch import nn

import edgecnn
from edgecnn.compress import losses
from edgecnn.compress.distill.distill_network import FromTeacher
from edgecnn.compress.distill.distill_request import DistillOptions
from edgecnn.verify import SAME, verify
from edgecnn.zoo import checkpoint
from edgecnn.zoo.code_errors import told

QUICK = {"batch": 8, "augmentation": "none", "validation": 0.25}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network with two heads that has learned to tell dark from bright, its code, and its images."""
    folder = tmp_path_factory.mktemp("own")
    reference, data = f"{own_code.write(folder)}:TwoHeads", own_code.images(folder / "photos")
    done = edgecnn.train_model(
        reference, data, folder / "two.safetensors", size=16, epochs=20, lr=0.01, **QUICK
    )
    return done, reference, data


def test_a_network_is_trained_by_its_own_losses(trained):
    done, _, _ = trained
    first, last = done.history[0], done.history[-1]
    assert last["loss"] < 0.7 * first["loss"] and last["validation_loss"] > 0 and "top1" not in last
    metrics = done.manifest.lineage[-1].metrics
    assert metrics["loss"] < 0.5 and "top1" not in metrics
    assert done.manifest.labels == ("bright", "dark") and len(done.manifest.outputs) == 3


def test_what_was_trained_is_pruned_and_exported_and_both_come_again(trained, tmp_path, monkeypatch):
    done, reference, data = trained
    monkeypatch.setattr("edgecnn.verify._TRAINING", ())
    pruned = edgecnn.prune_model(
        done.path, tmp_path / "pruned.safetensors", code=reference, target_macs="0.6x", align=1,
        data=str(data), measure=False,
    )  # fmt: skip
    assert pruned.after.macs <= 0.6 * pruned.before.macs and pruned.accuracy is None
    sizes = pruned.network.body[0].wide.weight.shape[0], pruned.network.stem[0].weight.shape[0]
    assert sizes < (64, 16) and pruned.network.kind.weight.shape[0] == 2
    exported = edgecnn.export_model(pruned.path, tmp_path / "pruned.onnx", code=reference)
    assert exported.parity.sqnr_db > 60
    assert [item.name for item in exported.manifest.outputs] == ["kind", "heads_output_0", "heads_output_1"]
    answers = {item.step: item for item in verify(exported.path, code=reference).answers}
    assert answers["trace"].verdict == SAME
    (unnamed,) = [item for item in verify(exported.path).answers if item.step == "trace"]
    assert "`code` nets.py:TwoHeads" in unnamed.detail


def test_scores_of_classes_are_trained_by_labels(trained, tmp_path):
    _, reference, data = trained
    reference = reference.replace("TwoHeads", "Scores")
    done = edgecnn.train_model(reference, data, tmp_path / "s.safetensors", size=16, epochs=1, **QUICK)
    assert 0 <= done.to_json()["top1"] <= 1 and done.manifest.outputs[0].name == "logits"
    assert done.manifest.lineage[0].parameters["arguments"] == {"num_classes": 2}


ONE_LINE = [
    ("TwoHeads", {"mixup": 0.2}, "gives its own losses"),
    ("Features", {}, "gives no scores of classes that labels could train"),
    ("Wide", {}, "gives 48 values for an image, and"),
    ("NoLoss", {}, "gives no loss in training"),
    ("Broken", {}, r"nets\.py, line 6: ZeroDivisionError"),
]
MORE = """from torch import nn
class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 4, 4)
    def fail(self, x): return x / (1 // (0 if self.training else 1))
class Features(Base):
    def forward(self, x): return {"a": self.layer(x), "b": x}
class Wide(Base):
    def forward(self, x): return self.layer(x).flatten(1)
class NoLoss(Base):
    def forward(self, x, labels=None): return self.layer(x).mean((2, 3))
class Broken(Base):
    def forward(self, x): return self.fail(self.layer(x).mean((2, 3)))[:, :2]
"""


@pytest.mark.parametrize(("name", "options", "reason"), ONE_LINE)
def test_what_cannot_be_trained_is_one_line(name, options, reason, trained, tmp_path):
    _, reference, data = trained
    if name != "TwoHeads":
        reference = f"{own_code.write(tmp_path, MORE)}:{name}"
    with pytest.raises(edgecnn.EdgecnnError, match=reason) as caught:
        edgecnn.train_model(
            reference, data, tmp_path / "m.safetensors", size=16, epochs=1, **QUICK, **options
        )
    assert "\n" not in str(caught.value) and caught.value.hint


def test_a_tensor_on_another_device_has_a_hint(tmp_path, monkeypatch):
    (tmp_path / "makes_its_own.py").write_text(
        "def forward():\n    raise RuntimeError('Expected all tensors to be on the same device, but')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(edgecnn.EdgecnnError, match="line 2") as caught, told():
        importlib.import_module("makes_its_own").forward()
    assert "device=x.device" in caught.value.hint


def test_what_needs_scores_of_classes_says_so(trained, tmp_path):
    done, reference, data = trained
    with pytest.raises(edgecnn.InvalidValueError, match="gives losses in training"):
        FromTeacher(DistillOptions("unread.onnx")).objective(done.network, None, None, None)
    with pytest.raises(edgecnn.InvalidValueError, match="gives no scores of classes"):
        edgecnn.distill_model(
            "lenet5", done.path, tmp_path / "m.safetensors", teacher_code=reference, data=str(data), **QUICK
        )


def test_two_heads_are_trained_in_int8_together(trained, tmp_path):
    done, reference, data = trained
    int8 = edgecnn.train_quantized_model(
        done.path, data, tmp_path / "m.onnx", code=reference, epochs=3, target="cpu", **QUICK
    )
    metrics = int8.manifest.lineage[-1].metrics
    assert [item["name"] for item in metrics["parity"]["outputs"]] == ["kind", "heads_output_0"]
    assert metrics["top1"] >= metrics["float_top1"] - 0.1 and metrics["simulation_agreement"] >= 0.99
    assert metrics["parity"]["sqnr_db"] > 15 and metrics["simulation_sqnr_db"] > 25
    assert "top1" in int8.history[0], "the labels judge the output that gives scores of their classes"


def test_a_program_trains_and_prunes_a_module_that_it_made(trained, tmp_path):
    data = trained[2]
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, 2))
    before = module[0].weight.detach().clone()
    done = edgecnn.train_model(module, data, tmp_path / "m.safetensors", size=16, epochs=1, **QUICK)
    assert done.network is module and not torch.equal(before, module[0].weight)
    pruned = edgecnn.prune_model(
        module, tmp_path / "p.safetensors", size=16, ratio=0.5, align=1, measure=False
    )
    assert pruned.network[0].weight.shape[0] == 8 and module[0].weight.shape[0] == 16
    written = edgecnn.export_model(pruned.network, tmp_path / "p.onnx", size=16)
    assert written.parity.sqnr_db > 80
    with pytest.raises(edgecnn.ArtifactError, match=r"torch\.nn\.modules\.container:Sequential builds"):
        edgecnn.create_model(str(pruned.path))


def test_a_run_of_other_code_is_another_run(trained, tmp_path):
    data = trained[2]
    own_code.write(tmp_path)
    options = ["--size", "16", "--epochs", "1", "--batch", "8", "--augmentation", "none", "--data", str(data)]
    command = ["train", "nets.py:Scores", *options, "-o", "m.safetensors", "--json"]
    first = run_here(*command, cwd=tmp_path)
    assert first.returncode == 0 and first.stdout.startswith("{")
    assert '"done_before": true' in run_here(*command, "--resume", cwd=tmp_path).stdout
    own_code.write(tmp_path, own_code.NETS + "\n# changed\n")
    assert '"done_before": false' in run_here(*command, "--resume", cwd=tmp_path).stdout


def test_losses_are_measured_as_the_network_is():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(0.5)

        def forward(self, x, targets):
            return [self.drop(self.norm(x)).mean(), x.mean()] if self.training else x

    network, images = Net().eval(), torch.randn(4, 3, 2, 2)
    with losses.measuring(network):
        found = losses.own_loss(network, images, torch.zeros(4))
    assert not network.training and int(network.norm.num_batches_tracked) == 0
    torch.testing.assert_close(found, 2 * images.mean(), rtol=1e-4, atol=1e-6)
    assert losses.has_losses(network) and not losses.has_losses(nn.Linear(1, 1))


def test_what_was_trained_goes_on_with_other_classes(trained, tmp_path):
    done, reference, _ = trained
    data = own_code.images(tmp_path / "photos")
    own_code.images(tmp_path / "more")
    (tmp_path / "more" / "dark").rename(data / "third")
    more = edgecnn.train_model(
        done.path, data, tmp_path / "three.safetensors", code=reference, epochs=1, **QUICK
    )
    assert "starts anew: 3 classes" in more.notes[0]
    assert checkpoint.load(more.path, code=reference).network.kind.weight.shape[0] == 3
