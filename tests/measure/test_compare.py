"""Ratios of engines whose times are known, on a clock that only they move."""

from functools import partial

import numpy as np
import pytest
from measure.test_measure import Clock, Stub

from edgecnn.errors import EngineError
from edgecnn.measure.latency.compare_engines import compare


class Varying(Stub):
    """An engine on a machine whose speed wanders, with noise of its own."""

    def _infer(self, inputs):
        wander = 1 + 0.3 * np.sin(self.clock.now / 0.7)
        self.seconds = self.base * wander * float(self.rng.lognormal(0, 0.03))
        return super()._infer(inputs)


@pytest.fixture
def clock(monkeypatch, as_long_as_usual):
    clock = Clock()
    for module in ("profile_engines", "compare_engines"):
        monkeypatch.setattr(f"edgecnn.measure.latency.{module}.time", clock)
    return clock


def loaders(tmp_path, clock, seed, *bases, spread=0.0):
    """What loads engines of so many seconds, each time a little faster or slower."""
    rng = np.random.default_rng(seed)

    def load(number: int, base: float) -> Varying:
        engine = Varying(tmp_path / f"{number}", clock)
        engine.base, engine.rng = base * float(rng.lognormal(0, spread)), rng
        return engine

    return [partial(load, number, base) for number, base in enumerate(bases)]


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_an_engine_is_no_slower_than_itself_in_19_of_20(tmp_path, clock, spread):
    held = 0
    for seed in range(40):
        ratio = compare(loaders(tmp_path, clock, seed, 0.005, 0.005, spread=spread), seconds=1.0).ratio(1)
        held += ratio.low <= 1 <= ratio.high
    assert held >= 38


def test_five_percent_are_found_in_19_of_20(tmp_path, clock):
    ratios = [
        compare(loaders(tmp_path, clock, seed, 0.005, 0.00525), seconds=1.0).ratio(1) for seed in range(20)
    ]
    assert sum(ratio.verdict == "slower" for ratio in ratios) >= 19
    assert np.mean([ratio.value for ratio in ratios]) == pytest.approx(1.05, abs=0.01)


def test_an_emulated_machine_is_noted_once(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("edgecnn.measure.sensors.linux.emulated", lambda root: True)
    found = compare(loaders(tmp_path, clock, 0, 0.004, 0.002), seconds=0.5).to_json()
    assert found["notes"].count("this machine is emulated: its times say nothing of a board") == 1


def test_each_engine_has_its_row_and_the_first_is_the_baseline(tmp_path, clock):
    result = compare(loaders(tmp_path, clock, 0, 0.004, 0.002, 0.008), seconds=0.5).to_json()
    first, fast, slow = result["results"]
    assert result["baseline"] == first["path"] and first["ratio"] is None
    assert fast["ratio"]["value"] == pytest.approx(0.5, rel=0.03) and fast["verdict"] == "faster"
    assert slow["ratio"]["value"] == pytest.approx(2.0, rel=0.03) and slow["verdict"] == "slower"
    assert first["latency_ms"]["p50"] == pytest.approx(4, rel=0.35)


def test_engines_are_loaded_anew_in_any_order_and_closed(tmp_path, clock):
    opened: list[Varying] = []

    def kept(load):
        opened.append(load())
        return opened[-1]

    made = [partial(kept, load) for load in loaders(tmp_path, clock, 0, 0.004, 0.002)]
    compared = compare(made, seconds=0.5)
    assert len(opened) == 2 * len(compared.turns) >= 12
    pairs = {(one.path.name, other.path.name) for one, other in zip(opened[::2], opened[1::2], strict=True)}
    assert pairs == {("0", "1"), ("1", "0")}
    assert [engine.path.name for engine in compared.engines] == ["0", "1"]
    assert all(engine._closed for engine in opened)
    assert all(len(turns) % 4 == 0 and len(turns) for turns in compared.turns)
    assert compared.ratio(1).loads == len(compared.turns)


def test_an_engine_that_cannot_be_loaded_leaves_none_open(tmp_path, clock):
    (first,) = loaders(tmp_path, clock, 0, 0.004)
    opened = first()

    def fails():
        raise EngineError("refused", hint="none")

    with pytest.raises(EngineError, match="refused"):
        compare([lambda: opened, fails], seconds=0.5)
    assert opened._closed
