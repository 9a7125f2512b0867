"""Ratios of engines whose times are known, on a clock that only they move."""

import numpy as np
import pytest
from measure.test_measure import Clock, Stub

from edgecnn.measure.compare import compare


class Varying(Stub):
    """An engine on a machine whose speed wanders, with noise of its own."""

    def _infer(self, array):
        wander = 1 + 0.3 * np.sin(self.clock.now / 0.7)
        self.seconds = self.base * wander * float(self.rng.lognormal(0, 0.03))
        return super()._infer(array)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in ("latency", "compare"):
        monkeypatch.setattr(f"edgecnn.measure.{module}.time", clock)
    return clock


def engines(tmp_path, clock, seed, *bases):
    rng = np.random.default_rng(seed)
    made = [Varying(tmp_path / f"{number}", clock) for number in range(len(bases))]
    for engine, base in zip(made, bases, strict=True):
        engine.base, engine.rng = base, rng
    return made


def test_an_engine_is_no_slower_than_itself_in_19_of_20(tmp_path, clock):
    held = 0
    for seed in range(40):
        ratio = compare(engines(tmp_path, clock, seed, 0.005, 0.005), seconds=1.0).ratio(1)
        held += ratio.low <= 1 <= ratio.high
    assert held >= 37


def test_five_percent_are_found_in_19_of_20(tmp_path, clock):
    ratios = [
        compare(engines(tmp_path, clock, seed, 0.005, 0.00525), seconds=1.0).ratio(1) for seed in range(20)
    ]
    assert sum(ratio.verdict == "slower" for ratio in ratios) >= 19
    assert np.mean([ratio.value for ratio in ratios]) == pytest.approx(1.05, abs=0.01)


def test_an_emulated_machine_is_noted_once(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("edgecnn.measure.sensors.linux.emulated", lambda root: True)
    found = compare(engines(tmp_path, clock, 0, 0.004, 0.002), seconds=0.5).to_json()
    assert found["notes"].count("this machine is emulated: its times say nothing of a board") == 1


def test_each_engine_has_its_row_and_the_first_is_the_baseline(tmp_path, clock):
    result = compare(engines(tmp_path, clock, 0, 0.004, 0.002, 0.008), seconds=0.5).to_json()
    first, fast, slow = result["results"]
    assert result["baseline"] == first["path"] and first["ratio"] is None
    assert fast["ratio"]["value"] == pytest.approx(0.5, rel=0.03) and fast["verdict"] == "faster"
    assert slow["ratio"]["value"] == pytest.approx(2.0, rel=0.03) and slow["verdict"] == "slower"
    assert first["latency_ms"]["p50"] == pytest.approx(4, rel=0.35)
