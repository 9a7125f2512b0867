import json

import pytest
from program import run_here


def profiled(*arguments: str) -> dict:
    done = run_here("profile", *arguments, "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def model(exported):
    return str(exported("mobilenet", "--alpha", "0.5"))


def test_layers_are_a_table_for_people_and_keys_for_programs(model):
    found = profiled(model, "--layers")
    (stem,) = (layer for layer in found["layers"] if layer["name"] == "conv_stem")
    assert stem["gmacs_per_s"] == pytest.approx(stem["macs"] / stem["ms"] / 1e6)
    table = run_here("profile", model, "--layers", "--seconds", "0.1").stdout
    assert "conv_stem" in table
    assert "layers add up to" in table


def test_the_limit_is_named_once_it_is_known(model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert profiled(model)["roofline"] is None
    assert "edgecnn doctor --measure" in run_here("profile", model, "--seconds", "0.1").stdout
    monkeypatch.setattr("edgecnn.measure.peaks._SECONDS", 0.05)
    assert "GFLOP/s" in run_here("doctor", "--measure").stdout
    found = profiled(model)["roofline"]
    assert found["bound"] in ("arithmetic", "memory")
    assert "bound by" in run_here("profile", model, "--seconds", "0.1").stdout


def test_a_plot_is_written(model, tmp_path):
    profiled(model, "--plot", str(tmp_path / "p.svg"))
    assert "conv_stem" in (tmp_path / "p.svg").read_text()


def test_a_scenario_is_loadgens_result(model, tmp_path):
    logs = tmp_path / "logs"
    found = profiled(model, "--scenario", "single-stream", "--log-dir", str(logs))
    assert found["latency_ms"]["p50"] == pytest.approx(found["loadgen"]["50.00_percentile_latency_ns"] / 1e6)
    assert (logs / "mlperf_log_detail.txt").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--qps", "5"), "--qps says nothing without --scenario"),
        (("--scenario", "offline", "--layers"), "--layers says nothing in a scenario"),
        (("--scenario", "offline", "--qps", "5"), "offline has no rate"),
        (("--plot", "p.txt"), "a plot cannot be written as"),
    ],
)
def test_options_that_say_nothing_are_refused(model, options, says):
    done = run_here("profile", model, *options)
    assert done.returncode == 1
    assert says in done.stderr
