"""Several batches of engines whose time for each is known."""

import itertools

import pytest
from measure.test_measure import Clock, Stub

from edgecnn.errors import InvalidValueError
from edgecnn.measure.latency import batch_plot
from edgecnn.measure.latency.batch_sweep import sweeps
from edgecnn.measure.latency.profile_engines import profile


class Batched(Stub):
    """An engine with milliseconds for each batch."""

    def _infer(self, inputs):
        self.seconds = self.spent[len(inputs[0])] / 1e3
        return super()._infer(inputs)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("edgecnn.measure.latency.profile_engines.time", clock)
    return clock


@pytest.fixture
def engine(tmp_path, clock):
    def make(spent, name="m.onnx"):
        made = Batched(tmp_path / name, clock)
        made.spent = spent
        return made

    return make


def swept(engine, batches):
    (found,) = sweeps(profile([engine], batch=batches, seconds=0.2))
    return found


def test_each_batch_is_a_result_with_its_own_latency(engine):
    results = profile([engine({1: 4, 2: 5, 8: 10})], batch=(1, 2, 8), seconds=0.2)
    assert [item.to_json()["conditions"]["batch"] for item in results] == [1, 2, 8]
    assert [item.milliseconds["p50"] for item in results] == pytest.approx([4, 5, 10])
    assert [item.throughput_ips for item in results] == pytest.approx([250, 400, 800])


def test_batches_and_engines_take_turns(engine, clock):
    seen = []

    class Watched(dict):
        def __getitem__(self, batch):
            seen.append(batch)
            return super().__getitem__(batch)

    profile([engine(Watched({1: 4, 2: 5}))], batch=(1, 2), seconds=0.2)
    assert sum(one != other for one, other in itertools.pairwise(seen)) >= 10


def test_results_stand_by_engine_and_then_by_batch(engine):
    engines = [engine({1: 1, 2: 2}, "a"), engine({1: 3, 2: 4}, "b")]
    results = profile(engines, batch=(1, 2), seconds=0.1)
    assert [(item.engine.path.name, item.batch) for item in results] == [
        *(("a", 1), ("a", 2)),
        *(("b", 1), ("b", 2)),
    ]
    assert [sweep.best.engine.path.name for sweep in sweeps(results)] == ["a", "b"]


def test_throughput_that_stops_growing_is_told_with_the_batch_where_it_does(engine):
    found = swept(engine({1: 4, 2: 4.4, 4: 8.5, 8: 16.9}), (1, 2, 4, 8))
    assert (found.best.batch, found.enough.batch) == (8, 2)
    assert str(found) == (
        "m.onnx: most images per second with batch 8 (473); beyond batch 2 it grows by less than 5%"
    )


def test_throughput_that_falls_again_has_its_best_in_the_middle(engine):
    found = swept(engine({1: 4, 2: 4.4, 4: 6, 8: 30}), (1, 2, 4, 8))
    assert (found.best.batch, found.enough.batch) == (4, 4)


def test_throughput_that_grows_to_the_end_may_grow_beyond_it(engine):
    found = swept(engine({1: 4, 2: 4.4}), (1, 2))
    assert str(found).endswith("it may grow beyond that")


def test_a_pause_before_growing_again_is_no_end(engine):
    found = swept(engine({1: 4, 2: 8, 4: 8}), (1, 2, 4))
    assert found.enough.batch == 4


def test_batches_are_told_in_ascending_order(engine):
    found = swept(engine({1: 4, 2: 5, 8: 10}), (8, 1, 2)).to_json()
    assert found["batches"] == [1, 2, 8] and found["best_batch"] == 8 and found["enough_batch"] == 8
    assert found["best_throughput_ips"] == pytest.approx(800)


def test_a_batch_that_a_model_does_not_take_is_refused(tmp_path, clock):
    with pytest.raises(InvalidValueError, match="takes 4 images at a time, not 2"):
        profile([Stub(tmp_path / "a", clock, 0.004, batch=4)], batch=(4, 2), seconds=0.2)


def test_the_picture_shows_every_batch_and_what_they_tell(engine, tmp_path):
    found = swept(engine({1: 4, 2: 4.4, 16: 30}), (1, 2, 16))
    batch_plot.draw(found, tmp_path / "p.svg")
    picture = (tmp_path / "p.svg").read_text()
    for text in ("images per second", "latency of a batch, ms", ">16<", "most images per second with batch"):
        assert text in picture
