import time
from pathlib import Path

import numpy as np
import pytest

from edgecnn.artifact import TensorSpec
from edgecnn.cli.commands.profile import command
from edgecnn.errors import EngineError, InvalidValueError
from edgecnn.measure.latency import mlperf_loadgen
from edgecnn.measure.latency.mlperf_loadgen import SCENARIOS, run_scenario
from edgecnn.measure.latency.mlperf_system import System
from edgecnn.measure.latency.profile_engines import profile
from edgecnn.progress import silent
from edgecnn.runtime import load
from edgecnn.runtime.engine import Engine


class Sleeper(Engine):
    """An engine that takes a known time for each inference, and remembers what it was given."""

    backend, device, threads = "onnxruntime", "cpu", 1

    def __init__(self, path: Path, seconds: float = 0.002, batch: int | str = "batch") -> None:
        path.write_bytes(b"sleeper")
        image = TensorSpec("input", (batch, 4, 4, 3), "uint8", "NHWC")
        super().__init__(path, None, [image], [TensorSpec("y", (batch, 10), "float32", "NC")])
        self.seconds, self.seen, self.took = seconds, [], []

    def _infer(self, inputs):
        self.seen.append(len(inputs[0]))
        start = time.perf_counter()
        time.sleep(self.seconds)
        self.took.append(time.perf_counter() - start)
        return [np.zeros((len(inputs[0]), 10), np.float32)]


@pytest.fixture
def engine(tmp_path):
    return Sleeper(tmp_path / "m.onnx")


def test_single_stream_times_one_image_at_a_time(engine, tmp_path):
    found = run_scenario(engine, "single-stream", tmp_path / "logs", seconds=0.3)
    assert found.valid
    assert set(engine.seen) == {1}
    slept = 1e3 * np.median(engine.took)  # as long as asked, or longer on a machine that others use
    assert 2 <= found.latency_ms["p50"] < 2 * slept
    assert found.latency_ms["p50"] <= found.latency_ms["p90"] <= found.latency_ms["max"]


def test_an_emulated_machine_is_noted(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("edgecnn.measure.sensors.linux.emulated", lambda root: True)
    found = run_scenario(engine, "single-stream", tmp_path / "logs", seconds=0.3)
    assert "this machine is emulated: its times say nothing of a board" in found.notes


def test_multi_stream_times_eight_images_as_one_query(engine, tmp_path):
    found = run_scenario(engine, "multi-stream", tmp_path / "logs", seconds=0.3)
    assert set(engine.seen) == {8}
    assert found.throughput_ips == pytest.approx(8e3 / found.latency_ms["mean"])


def test_offline_fills_batches(engine, tmp_path):
    found = run_scenario(engine, "offline", tmp_path / "logs", batch=16, seconds=0.3)
    assert max(engine.seen) == 16
    assert np.mean(engine.seen) > 14
    assert 16 / np.mean(engine.took) / 2 < found.throughput_ips <= 16 / 0.002
    assert found.latency_ms is None


def test_offline_runs_as_long_as_asked(engine, tmp_path):
    assert run_scenario(engine, "offline", tmp_path / "logs", seconds=0.3).valid


def test_a_server_answers_what_waits_together(tmp_path, monkeypatch):
    monkeypatch.setitem(mlperf_loadgen._LEAST_QUERIES, "server", 60)
    engine = Sleeper(tmp_path / "m.onnx", seconds=0.01)
    found = run_scenario(engine, "server", tmp_path / "logs", batch=4, seconds=0.2, qps=150, latency_ms=500)
    assert 1 < max(engine.seen[20:]) <= 4  # more arrive than can be answered one by one
    assert found.qps == 150
    assert found.to_json()["n"] >= 60


def test_a_run_beyond_the_bound_is_not_valid(engine, tmp_path, monkeypatch):
    monkeypatch.setitem(mlperf_loadgen._LEAST_QUERIES, "server", 60)
    found = run_scenario(engine, "server", tmp_path / "logs", seconds=0.2, qps=100, latency_ms=1)
    assert not found.valid
    assert "invalid" in found.notes[0]


class Threshold:
    """Stands for runs of LoadGen that are valid up to a rate."""

    rate, latency_ms = 1000.0, 15.0

    def __init__(self, engine, most: float) -> None:
        self.engine, self.most = engine, most

    def __call__(self, folder, qps):
        return {"validity": "VALID" if qps <= self.most else "INVALID", "99.00_percentile_latency_ns": 1e6}


@pytest.mark.parametrize("most", [620.0, 100.0])
def test_the_search_ends_at_the_highest_valid_rate(engine, tmp_path, most):
    trials = []
    found = mlperf_loadgen._search(Threshold(engine, most), tmp_path, trials, silent)
    assert 0.9 * most < found <= most
    assert len(trials) < 12


def test_the_search_gives_up_where_no_rate_is_valid(engine, tmp_path):
    with pytest.raises(EngineError, match="at no rate"):
        mlperf_loadgen._search(Threshold(engine, 0.0), tmp_path, [], silent)


def test_what_the_engine_raises_comes_through(engine, tmp_path, monkeypatch):
    infer, failures = engine._infer, []

    def fail(inputs):
        if len(engine.seen) > 100:
            failures.append(1)
            raise EngineError("out of memory")
        return infer(inputs)

    monkeypatch.setattr(mlperf_loadgen, "warm_up", lambda engine, data: None)
    engine._infer, engine.seconds = fail, 0.0001
    with pytest.raises(EngineError, match="out of memory"):
        run_scenario(engine, "single-stream", tmp_path / "logs", seconds=0.2)
    assert len(failures) == 1  # it is not asked again


def test_loadgens_logs_are_kept(engine, tmp_path):
    run_scenario(engine, "single-stream", tmp_path / "deep" / "logs", seconds=0.1)
    assert (tmp_path / "deep" / "logs" / "mlperf_log_summary.txt").stat().st_size > 0


def test_a_fixed_batch_is_kept(tmp_path):
    engine = Sleeper(tmp_path / "m.onnx", batch=4)
    run_scenario(engine, "offline", tmp_path / "logs", seconds=0.1)
    assert set(engine.seen) == {4}
    with pytest.raises(InvalidValueError, match="takes 4 images"):
        run_scenario(engine, "offline", tmp_path / "logs", batch=2, seconds=0.1)


def test_a_rate_is_a_servers_alone(engine, tmp_path):
    with pytest.raises(InvalidValueError, match="no rate"):
        run_scenario(engine, "offline", tmp_path / "logs", qps=5)


class Sample:
    def __init__(self, index: int) -> None:
        self.index = index


def test_permutations_of_the_library_are_batches_that_lie_together(engine):
    system = System(None, engine, np.zeros((6, 2)), 3)
    query = [Sample(index) for index in (4, 0, 2, 1, 5, 3) * 2]
    order = [sample.index for sample in system.arranged(query)]
    assert order == [0, 1, 2, 3, 4, 5] * 2
    assert np.shares_memory(system._inputs(order[3:6]), system._data)


def test_the_command_knows_every_scenario():
    (option,) = (item for item in command.params if item.name == "scenario")
    assert list(option.type.choices) == list(SCENARIOS)


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "batch"), [("single-stream", 1), ("offline", 8)])
def test_loadgen_agrees_with_profile(exported, tmp_path, scenario, batch):
    """In turns; the least disturbed turn of each counts, so that what else runs here does not."""
    ours, theirs = [], []
    with load(exported("mobilenet", "--alpha", "0.5"), threads=1) as engine:
        for turn in range(6):
            (latency,) = profile([engine], batch=batch, seconds=0.5)
            found = run_scenario(engine, scenario, tmp_path / str(turn), batch=batch, seconds=0.5)
            if scenario == "offline":
                ours.append(1 / latency.to_json()["throughput_ips"])
                theirs.append(1 / found.throughput_ips)
            else:
                ours.append(latency.milliseconds["p50"])
                theirs.append(found.latency_ms["p50"])
    # LoadGen hands each query to another thread, which waits longer for a core where others compute.
    assert 0.95 < min(theirs) / min(ours) < 1.12, (sorted(theirs), sorted(ours))
