import itertools
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.artifact import Manifest, Step, TensorSpec
from edgecnn.data.folder import LabelledImages
from edgecnn.errors import InvalidValueError
from edgecnn.measure.accuracy.evaluate import evaluate
from edgecnn.measure.conditions.probes import Probe
from edgecnn.measure.latency.profile_engines import profile
from edgecnn.measure.real_inputs import real_input
from edgecnn.runtime import Preprocessing
from edgecnn.runtime.engine import Engine


class Stub(Engine):
    """An engine whose time and answers are known: it takes as long as told, and reads a pixel's class."""

    backend, device, threads = "onnxruntime", "cpu", 1

    def __init__(self, path: Path, clock=None, seconds: float = 0.0, batch: int | str = "batch") -> None:
        path.write_bytes(b"\x08\x0a")  # the least that is an ONNX file
        image = TensorSpec("input", (batch, 4, 4, 3), "uint8", "NHWC")
        super().__init__(path, None, [image], [TensorSpec("y", (batch, 10), "float32", "NC")])
        self._preprocessing = Preprocessing(4, crop=1.0)
        self.clock, self.seconds = clock, seconds

    def _infer(self, inputs):
        if self.clock:
            self.clock.advance(self)
        else:
            time.sleep(self.seconds)
        return [np.eye(10, dtype=np.float32)[inputs[0][:, 0, 0, 0] % 10]]


class Clock:
    """A clock that moves only when an engine works, and remembers which one did."""

    def __init__(self) -> None:
        self.now, self.worked = 0.0, []

    def advance(self, engine: Stub) -> None:
        self.now += engine.seconds
        self.worked.append(engine)

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch, as_long_as_usual):
    clock = Clock()
    monkeypatch.setattr("edgecnn.measure.latency.profile_engines.time", clock)
    return clock


def test_latency_is_the_time_of_one_call(tmp_path, clock):
    (result,) = profile([Stub(tmp_path / "a", clock, 0.004)], seconds=0.4)
    assert set(np.round(result.samples, 6)) == {0.004}
    assert {round(value, 6) for key, value in result.milliseconds.items() if key != "std"} == {4.0}
    assert result.to_json()["throughput_ips"] == pytest.approx(250)


@pytest.mark.parametrize(("last", "parity"), [("quantize", {"sqnr_db": 12.0}), ("requantize", None)])
def test_the_parity_is_that_of_the_last_step_or_unknown(tmp_path, clock, last, parity):
    engine = Stub(tmp_path / "a", clock, 0.004)
    steps = Step("check", {}, metrics={"sqnr_db": 100.0}), Step(last, {}, metrics=parity or {})
    engine.manifest = Manifest(inputs=(), outputs=(), lineage=steps)
    (result,) = profile([engine], seconds=0.4)
    assert result.to_json()["parity"] == parity
    assert result.to_json()["parity_against"] == (parity and "the float network")


def test_the_parity_says_what_with_and_a_trained_int8_file_has_one(tmp_path, clock):
    told = {}
    for what, metrics in (
        ("compile", {"sqnr_db": 50.0}),
        ("check", {"sqnr_db": 20.0}),
        ("quantization-aware training", {"parity": {"sqnr_db": 13.0}}),
    ):
        engine = Stub(tmp_path / "a", clock, 0.004)
        engine.manifest = Manifest(inputs=(), outputs=(), lineage=(Step(what, {}, metrics=metrics),))
        (result,) = profile([engine], seconds=0.1)
        told[result.to_json()["parity_against"]] = result.to_json()["parity"]["sqnr_db"]
    assert told == {"the ONNX file": 50.0, "PyTorch": 20.0, "the float network": 13.0}


def test_every_sample_is_kept_and_warming_up_is_none(tmp_path, clock):
    engine = Stub(tmp_path / "a", clock, 0.01)
    (result,) = profile([engine], seconds=2.0)
    assert len(result.samples) == pytest.approx(200, abs=6)
    assert len(clock.worked) >= len(result.samples) + 50  # half a second of warming up


def test_a_slow_engine_is_still_measured_often_enough(tmp_path, clock):
    (result,) = profile([Stub(tmp_path / "a", clock, 7.0)], seconds=1.0)
    assert len(result.samples) >= 20


def test_engines_take_turns_and_each_gets_its_own_figures(tmp_path, clock):
    engines = [Stub(tmp_path / "a", clock, 0.006), Stub(tmp_path / "b", clock, 0.002)]
    slow, fast = profile(engines, seconds=0.6)
    assert (slow.milliseconds["p50"], fast.milliseconds["p50"]) == (pytest.approx(6), pytest.approx(2))
    changes = sum(one is not other for one, other in itertools.pairwise(clock.worked))
    assert changes >= 9


def test_the_conditions_stand_with_the_result(tmp_path):
    (result,) = profile([Stub(tmp_path / "a", seconds=0.002)], batch=2, seconds=0.1)
    conditions = result.to_json()["conditions"]
    assert conditions["batch"] == 2 and conditions["device"] == "cpu" and conditions["cores"] >= 1
    assert {"machine", "cpu", "governor", "load", "backend", "threads", "input", "transfers"} <= set(
        conditions
    )


def test_the_energy_of_an_image_is_power_times_its_share_of_the_time(tmp_path, monkeypatch):
    probe = Probe("VDD_IN", "power", lambda: 10.0, whole=True)
    monkeypatch.setattr("edgecnn.measure.conditions.sampler.find_probes", lambda: ([probe], []))
    (result,) = profile([Stub(tmp_path / "a", seconds=0.002)], batch=2, seconds=0.3)
    assert result.to_json()["joules_per_image"] == pytest.approx(10 * result.samples.mean() / 2)


def test_without_a_sensor_the_energy_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr("edgecnn.measure.conditions.sampler.find_probes", lambda: ([], ["no sensor"]))
    (result,) = profile([Stub(tmp_path / "a", seconds=0.002)], seconds=0.1)
    assert result.to_json()["joules_per_image"] is None


def test_the_input_is_a_photograph_in_different_crops(tmp_path):
    data = real_input(Stub(tmp_path / "a"), 3)
    assert data.shape == (3, 4, 4, 3) and data.dtype == np.uint8
    assert data.std() > 10 and not np.array_equal(data[0], data[1])


def test_another_batch_than_the_fixed_one_is_refused(tmp_path):
    assert len(real_input(Stub(tmp_path / "a", batch=4), None)) == 4
    with pytest.raises(InvalidValueError, match="takes 4 images at a time, not 2"):
        real_input(Stub(tmp_path / "a", batch=4), 2)


def test_accuracy_counts_the_right_images(tmp_path):
    pictures = [Image.new("RGB", (4, 4), (index % 10, 0, 0)) for index in range(20)]
    labels = [index % 10 if index < 15 else (index + 1) % 10 for index in range(20)]
    data = LabelledImages("made up", list(pictures), labels)
    accuracy = evaluate(Stub(tmp_path / "a"), data, batch=3)
    assert (accuracy.top1, accuracy.n) == (0.75, 20)
    low, high = accuracy.top1_interval
    assert (low, high) == (
        pytest.approx(0.5313, abs=1e-3),
        pytest.approx(0.8881, abs=1e-3),
    )  # Wilson's formula


class Cooling(Stub):
    """Slow at first, as an engine that still chooses kernels; slower after some runs, as a hot board."""

    def _infer(self, inputs):
        runs = len(self.clock.worked)
        self.seconds = 0.004 * (1 + 3 * max(0, 1 - runs / 200)) * (1.3 if runs > self.hot_after else 1)
        return super()._infer(inputs)


def test_warming_up_lasts_until_the_latency_is_stable(tmp_path, clock):
    engine = Cooling(tmp_path / "a", clock)
    engine.hot_after = 10**9
    (result,) = profile([engine], seconds=1.0)
    assert result.warm_up.stable and result.warm_up.runs >= 200
    assert set(np.round(result.samples, 6)) == {0.004}


def test_a_throttle_while_measuring_is_reported(tmp_path, clock):
    engine = Cooling(tmp_path / "a", clock)
    engine.hot_after = 600
    (result,) = profile([engine], seconds=4.0)
    assert result.steadiness.verdict == "slower" and result.steadiness.ratio == pytest.approx(1.3)
    assert any("30% slower after" in note for note in result.notes)


def test_an_engine_that_is_never_stable_is_said_to_be(tmp_path, clock):
    rng = np.random.default_rng(0)

    class Noisy(Stub):
        def _infer(self, inputs):
            self.seconds = float(rng.uniform(0.05, 0.5))
            return super()._infer(inputs)

    (result,) = profile([Noisy(tmp_path / "a", clock)], seconds=1.0)
    assert not result.warm_up.stable and any("was not stable after" in note for note in result.notes)
