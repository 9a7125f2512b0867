import dataclasses
import json

import numpy as np
import pytest

from edgecnn.artifact import LayerRecord, Manifest
from edgecnn.measure.layers import peaks
from edgecnn.measure.layers.peaks import Peaks, known
from edgecnn.measure.layers.roofline import against
from edgecnn.runtime.ort_engine import open_session

LIMITS = Peaks(100.0, 200.0, 400.0, 10.0, "measured")
LAYERS = {
    "conv": LayerRecord("Conv", 1_000_000, 1000, 500, 500, "conv2d", ()),
    "act": LayerRecord("Relu", 0, 0, 500, 500, "relu", ("conv",)),
}


def manifest(precision: str = "float32", **others) -> Manifest:
    return Manifest(inputs=(), outputs=(), precision=precision, layers=LAYERS, **others)


def test_the_intensity_is_operations_over_the_bytes_of_weighted_layers():
    assert against(manifest(), LIMITS, 1, 1.0).intensity == pytest.approx(2e6 / (4 * (1000 + 1000)))


def test_weights_move_once_for_a_batch():
    assert against(manifest(), LIMITS, 8, 1.0).intensity == pytest.approx(16e6 / (4 * (1000 + 8000)))


def test_a_network_above_the_ridge_is_bound_by_arithmetic():
    # 2e6 operations at 100 GFLOP/s take 20 us; 8000 bytes at 10 GB/s 0.8 us.
    found = against(manifest(), LIMITS, 1, 40e-6)
    assert (found.bound, found.share) == ("arithmetic", pytest.approx(0.5))
    assert (
        str(found) == "reached 50% of the arithmetic limit (25 of 50 GMAC/s, measured); bound by arithmetic"
    )


def test_a_network_below_the_ridge_is_bound_by_memory():
    slow = dataclasses.replace(LIMITS, bandwidth_gbs=0.1)  # 8000 bytes take 80 us
    found = against(manifest(), slow, 1, 160e-6)
    assert (found.bound, found.share) == ("memory", pytest.approx(0.5))
    assert "(0.05 of 0.1 GB/s" in str(found)


@pytest.mark.parametrize(("precision", "peak", "width"), [("float16", 200, 2), ("int8", 400, 1)])
def test_each_precision_has_its_rate_and_its_width(precision, peak, width):
    found = against(manifest(precision), LIMITS, 1, 1.0)
    assert found.peak_gflops == pytest.approx(peak)
    assert found.intensity == pytest.approx(2e6 / (2000 * width))


def test_a_layer_left_in_float_counts_as_float():
    found = against(manifest("int8", quantization={"float_nodes": {"conv": "rule"}}), LIMITS, 1, 1.0)
    assert found.peak_gflops == pytest.approx(100)


def test_a_rate_that_nobody_knows_gives_no_roofline():
    assert against(manifest("int8"), dataclasses.replace(LIMITS, int8_gops=None), 1, 1.0) is None


@dataclasses.dataclass
class Stands:
    """What of an engine decides its limits."""

    device: str = "cpu"
    threads: int = 0
    manifest: Manifest | None = None


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of four cores that was measured."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peaks, "cpu_model", lambda: "Processor")
    monkeypatch.setattr(peaks.operating_system, "cores", lambda: [0, 1, 2, 3])
    row = dataclasses.asdict(Peaks(10.0, 10.0, 40.0, 8.0, "measured"))
    every = dataclasses.asdict(Peaks(25.0, 25.0, 160.0, 12.0, "measured"))
    record = {"cpu": "Processor", "cores": 4, "peaks": {"1": row, "4": every}}

    def keep(**changes):
        peaks.kept_in().parent.mkdir(exist_ok=True)
        peaks.kept_in().write_text(json.dumps({**record, **changes}))

    keep()
    return keep


@pytest.mark.parametrize(("threads", "float32"), [(1, 10.0), (0, 25.0), (2, 20.0), (3, 25.0), (9, 25.0)])
def test_the_limit_is_that_of_the_threads_used(machine, threads, float32):
    assert known(Stands(threads=threads)).float32_gflops == float32


@pytest.mark.parametrize("changes", [{"cpu": "Another"}, {"cores": 2}, {"peaks": {"1": {"old": 1}}}])
def test_another_machines_limits_are_not_used(machine, changes):
    machine(**changes)
    assert known(Stands()) is None


def test_a_gpus_limits_are_the_published_ones():
    found = known(Stands("cuda", manifest=manifest(target="jetson-orin-nano")))
    assert (found.int8_gops, found.bandwidth_gbs) == (33e3, 102.0)
    assert known(Stands("cuda", manifest=manifest(target="portable"))) is None


def test_measured_limits_are_kept_for_profile(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(peaks, "_SECONDS", 0.05)
    measured = peaks.measure()
    assert known(Stands(threads=1)) == measured[1]
    assert measured[1].int8_gops > 0 < measured[1].bandwidth_gbs


def test_the_measured_products_are_what_they_say():
    x = np.random.default_rng(0).uniform(0, 2.5, (3, 1024)).astype(np.float32)
    exact = x @ np.full((1024, 1024), 0.01, np.float32)
    product = open_session(peaks._FLOAT32).run(None, {"x": x})[0]
    np.testing.assert_allclose(product, exact, rtol=1e-4)
    # Weights of 3 x 0.01, and a step of 0.1 in the output.
    rounded = open_session(peaks._INT8).run(None, {"x": x})[0]
    np.testing.assert_allclose(rounded, np.minimum(3 * exact, 25.5), atol=0.2)
