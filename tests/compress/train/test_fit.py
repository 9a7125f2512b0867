"""The loop: it learns, it goes on where it was cut off, and it freezes what it should."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgecnn.compress.losses import Supervised, cross_entropy, one_hot
from edgecnn.compress.train.lesson import ClassLesson
from edgecnn.compress.train.network_accuracy import evaluate
from edgecnn.compress.train.resume_state import TrainingState
from edgecnn.compress.train.train_options import TrainOptions
from edgecnn.compress.train.training_loop import Stage, Task, fit, make_accelerator
from edgecnn.data.dataset import Examples
from edgecnn.data.loader import Loader
from edgecnn.data.open_dataset import open_dataset
from edgecnn.errors import InvalidValueError, TrainingError
from edgecnn.runtime.preprocessing import Preprocessing

GREY = Preprocessing(8, crop=1.0, mean=(0.5,), std=(0.25,))
OPTIONS = TrainOptions(epochs=3, batch=32, ema=0.9, mixup=0.2, lr=0.01, validation=0.0)
DIGITS = open_dataset("digits", validation=0.0)


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1),
            nn.Conv2d(8, 8, 3, padding=1, stride=2), nn.Flatten(), nn.Linear(8 * 16, 10),
        )  # fmt: skip


def task(net: nn.Module, options: TrainOptions = OPTIONS, state=None, **changes) -> Task:
    known = {
        "network": net,
        "objective": Supervised(),
        "train": Loader(DIGITS.train, GREY, options.batch, seed=options.seed),
        "validation": Loader(DIGITS.test, GREY, 64, shuffle=False, drop_last=False),
        "lesson": ClassLesson(10, options.label_smoothing),
        "options": options,
        "stages": (Stage("train", options.epochs, options.learning_rate(fine_tuning=False)),),
        "state_file": state,
        "identity": {"what": "a test"},
    }
    return Task(**{**known, **changes})


class CutOffError(Exception):
    pass


def run(given: Task, stop_after: int | None = None):
    """Train; be cut off at the given report."""
    seen = []

    def report(state):
        seen.append(state)
        if stop_after is not None and len(seen) > stop_after:
            raise CutOffError

    # A processor computes in float16 too, if slowly.
    return fit(given, make_accelerator(replace(given.options, amp="no")), report), seen


def test_it_learns_and_says_so():
    net = network()
    rows, _ = run(task(net, TrainOptions(epochs=6, batch=32, lr=0.01, validation=0.0)))
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[-1]["top1"] > 0.9
    top1, *_ = evaluate(net, Loader(DIGITS.test, GREY, 50, shuffle=False, drop_last=False))
    assert top1 == pytest.approx(rows[-1]["top1"]) and not net.training


RESUMED = {
    "adamw, averaged, mixed up": {},
    "sgd, bf16, cutmix": {"optimizer": "sgd", "amp": "bf16", "mixup": 0.0, "cutmix": 1.0, "clip": None},
    "channels first, no average": {"channels_last": False, "ema": 0.0},
    "fp16, whose loss is scaled": {"amp": "fp16"},
}


@pytest.mark.parametrize("changes", RESUMED.values(), ids=RESUMED.keys())
def test_a_run_resumed_from_any_state_ends_where_the_uninterrupted_one_does(tmp_path, monkeypatch, changes):
    monkeypatch.setattr("edgecnn.compress.train.training_loop.SAVE_SECONDS", 0.0)
    options = TrainOptions(**{**OPTIONS.to_json(), **changes})
    images = Examples(DIGITS.train.images[:96], DIGITS.train.labels[:96])
    stages = (Stage("classifier", 1, 0.01, ("6.",)), Stage("whole network", 2, 0.01))
    few = {"train": Loader(images, GREY, 32), "validation": None, "stages": stages}
    states, scalers = [], []
    write = TrainingState.write

    def keep(state, path):
        write(state, path)
        scalers.append(state.scaler)
        states.append(path.rename(tmp_path / str(len(states))))

    monkeypatch.setattr(TrainingState, "write", keep)
    whole = network()
    rows, _ = run(task(whole, options, tmp_path / "state", **few))
    assert len(states) == 3 * 3 - 1
    last = scalers[-1]
    monkeypatch.setattr(TrainingState, "write", lambda state, path: scalers.append(state.scaler))
    # Within a stage, where it ends, in the next one, where an epoch ends.
    for kept in (states[0], states[2], states[3], states[5]):
        net = network(seed=9)  # the state holds everything
        again, _ = run(task(net, options, kept, **few))
        for key, value in whole.state_dict().items():
            assert torch.equal(value, net.state_dict()[key]), (kept.name, key)
        assert untimed(rows) == untimed(again) and scalers[-1] == last


def untimed(rows):
    """A log without what differs from run to run."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_a_run_cut_off_again_and_again_ends_where_the_uninterrupted_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr("edgecnn.compress.train.training_loop.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("edgecnn.compress.train.training_loop.SAVE_SECONDS", 0.0)
    whole = network()
    rows, seen = run(task(whole))
    state, net = tmp_path / "state", network()
    for stop in (0, 3, 0, len(seen) // 2):
        with pytest.raises(CutOffError):
            run(task(net, state=state), stop)
        net = network(seed=9 if state.exists() else 0)
    again, _ = run(task(net, state=state))
    for key, value in whole.state_dict().items():
        assert torch.equal(value, net.state_dict()[key]), key
    assert untimed(rows) == untimed(again)


def test_a_state_of_another_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("edgecnn.compress.train.training_loop.REPORT_SECONDS", 0.0)
    monkeypatch.setattr("edgecnn.compress.train.training_loop.SAVE_SECONDS", 0.0)
    state = tmp_path / "state"
    with pytest.raises(CutOffError):
        run(task(network(), state=state), 1)
    with pytest.raises(InvalidValueError, match="what was a test, now another"):
        run(task(network(), state=state, identity={"what": "another"}))


def test_a_frozen_part_keeps_weights_and_statistics():
    net = network()
    before = copy.deepcopy(net.state_dict())
    run(task(net, OPTIONS, stages=(Stage("classifier", 2, 0.01, ("6.",)),)))
    after = net.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {"6.weight", "6.bias"}
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_the_second_stage_trains_everything(tmp_path):
    net = network()
    before = copy.deepcopy(net.state_dict())
    stages = (Stage("classifier", 1, 0.01, ("6.",)), Stage("all", 2, 0.01))
    rows, seen = run(task(net, OPTIONS, stages=stages))
    assert [row["stage"] for row in rows] == ["classifier", "all", "all"]
    assert not any(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert seen[-1].done == seen[-1].total == 3 * (len(DIGITS.train) // 32)


def test_a_loss_that_is_no_number_ends_the_run():
    with pytest.raises(TrainingError, match="not finite in epoch 1") as caught:
        run(task(network(), TrainOptions(epochs=2, batch=32, optimizer="sgd", lr=1e3, clip=None)))
    assert "`lr`" in caught.value.hint


def test_mixed_precision_can_follow_on_float32():
    single, mixed = network(), network()
    options = {**OPTIONS.to_json(), "epochs": 1}
    run(task(single, TrainOptions(**options)))
    rows, _ = run(task(mixed, TrainOptions(**{**options, "amp": "bf16"})))
    assert rows[0]["top1"] > 0.3
    difference = (single[6].weight - mixed[6].weight).abs().max()
    assert 0 < difference < 0.1 and mixed[6].weight.dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes in float16")
def test_float16_without_a_gpu_is_refused():
    with pytest.raises(InvalidValueError, match="needs a GPU"):
        make_accelerator(TrainOptions(amp="fp16"))


def test_one_hot_targets_are_smoothed_and_empty_where_there_is_no_label():
    targets = one_hot(torch.tensor([1, -1]), 4, 0.2)
    torch.testing.assert_close(targets, torch.tensor([[0.05, 0.85, 0.05, 0.05], [0, 0, 0, 0]]))


def test_cross_entropy_is_torchs_with_label_smoothing():
    logits, labels = torch.randn(5, 7), torch.tensor([0, 6, 3, 3, 1])
    wanted = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(cross_entropy(logits, one_hot(labels, 7, 0.1)), wanted)


def test_auxiliary_classifiers_count_three_tenths():
    logits, labels = torch.randn(3, 5, 7), torch.tensor([0, 6, 3, 3, 1])
    each = [nn.functional.cross_entropy(part, labels) for part in logits]
    found = cross_entropy(tuple(logits), one_hot(labels, 7))
    torch.testing.assert_close(found, each[0] + 0.3 * (each[1] + each[2]))


def test_unreadable_images_do_not_count_in_an_evaluation(tmp_path):
    images = [*DIGITS.test.images[:4], tmp_path / "missing.png"]
    loader = Loader(Examples(images, np.zeros(5, np.int64)), GREY, 4, shuffle=False, drop_last=False)
    top1, loss, count = evaluate(network(), loader)
    assert count == 4
    clean = Loader(Examples(images[:4], np.zeros(4, np.int64)), GREY, 4, shuffle=False, drop_last=False)
    assert (top1, loss, 4) == pytest.approx(evaluate(network(), clean))


class NamedDevices(torch.overrides.TorchFunctionMode):
    """Lets no tensor be made without a device: it would lie on the CPU, wherever the network is."""

    FACTORIES = (torch.tensor, torch.zeros, torch.ones, torch.empty, torch.full)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        assert function not in self.FACTORIES or (kwargs or {}).get("device") is not None, function
        return function(*args, **(kwargs or {}))


def test_an_evaluation_makes_its_tensors_where_the_network_is():
    loader = Loader(DIGITS.test, GREY, 50, shuffle=False, drop_last=False)
    trained = network()
    with NamedDevices():
        evaluate(trained, loader)


def test_single_values_in_a_batch_of_one_image_are_normalized_by_running_statistics():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Flatten(),
        nn.Linear(4, 10),
    )  # fmt: skip
    images = Examples(DIGITS.train.images[:6], DIGITS.train.labels[:6])
    options = TrainOptions(epochs=1, batch=1, validation=0.0, warmup=0)
    before = copy.deepcopy(net.state_dict())
    run(task(net, options, train=Loader(images, GREY, 1), validation=None))
    after = net.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert (
        torch.equal(after["3.running_mean"], before["3.running_mean"]) and after["1.num_batches_tracked"] == 6
    )
    assert not torch.equal(after["3.weight"], before["3.weight"])
    assert not net[3]._forward_pre_hooks
