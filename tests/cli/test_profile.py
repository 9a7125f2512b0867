import json

import pytest
from program import SMALL, run_here


def profiled(*arguments: str) -> dict:
    done = run_here("profile", *arguments, "--device", "cpu", "--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def model(exported):
    return str(exported(*SMALL))


def test_layers_are_a_table_for_people_and_keys_for_programs(model):
    found = profiled(model, "--layers")
    (stem,) = (layer for layer in found["layers"] if layer["name"] == "conv_stem")
    assert stem["gmacs_per_s"] == pytest.approx(stem["macs"] / stem["ms"] / 1e6)
    table = run_here("profile", model, "--layers", "--device", "cpu", "--seconds", "0.1").stdout
    assert "conv_stem" in table
    assert "layers add up to" in table


def test_the_limit_is_named_once_it_is_known(model, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert profiled(model)["roofline"] is None
    assert (
        "edgecnn doctor --measure" in run_here("profile", model, "--device", "cpu", "--seconds", "0.1").stdout
    )
    for name, value in (("_SECONDS", 0.05), ("_CACHES", 0), ("_LEAST_BYTES", 1 << 20)):
        monkeypatch.setattr(f"edgecnn.measure.layers.peaks.{name}", value)
    assert "GFLOP/s" in run_here("doctor", "--measure").stdout
    found = profiled(model)["roofline"]
    assert found["bound"] in ("arithmetic", "memory")
    assert "bound by" in run_here("profile", model, "--device", "cpu", "--seconds", "0.1").stdout


def test_a_plot_is_written(model, tmp_path):
    assert profiled(model, "--plot", str(tmp_path / "p.svg"))["plot"] == str(tmp_path / "p.svg")
    assert "conv_stem" in (tmp_path / "p.svg").read_text()


def test_a_scenario_is_loadgens_result(model, tmp_path):
    logs = tmp_path / "logs"
    found = profiled(model, "--scenario", "single-stream", "--log-dir", str(logs))
    assert found["latency_ms"]["p50"] == pytest.approx(found["loadgen"]["50.00_percentile_latency_ns"] / 1e6)
    assert (logs / "mlperf_log_detail.txt").exists()


def test_several_batches_are_a_row_each_and_a_line_of_what_they_tell(model):
    found = profiled(model, "--batch", "1,2,4")
    assert [item["conditions"]["batch"] for item in found["results"]] == [1, 2, 4]
    (sweep,) = found["sweeps"]
    assert sweep["batches"] == [1, 2, 4] and sweep["best_batch"] in (1, 2, 4)
    table = run_here("profile", model, "--batch", "1,2", "--seconds", "0.1").stdout
    assert "batch" in table.splitlines()[1] and "most images per second with batch" in table


def test_one_batch_is_one_result(model):
    assert profiled(model, "--batch", "2")["conditions"]["batch"] == 2


def test_a_plot_of_several_batches_is_of_them(model, tmp_path):
    profiled(model, "--batch", "1,2", "--plot", str(tmp_path / "p.svg"))
    assert "images per second" in (tmp_path / "p.svg").read_text()


def test_layers_are_measured_with_each_batch(model):
    one, two = profiled(model, "--batch", "1,2", "--layers")["results"]
    macs = [{row["name"]: row["macs"] for row in item["layers"]} for item in (one, two)]
    assert macs[1]["conv_stem"] == 2 * macs[0]["conv_stem"]


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        ("1,,2", "'1,,2' is no list of batches"),
        ("1,two", "'1,two' is no list of batches"),
        ("0", "a batch of 0"),
        ("2,-1", "a batch of -1"),
        ("1,2,1", "batch 1 is there twice"),
    ],
)
def test_what_is_no_list_of_batches_is_one_line(model, batch, says):
    done = run_here("profile", model, "--batch", batch)
    assert done.returncode == 1 and says in done.stderr


def test_on_a_processor_nothing_is_said_of_copies_or_graphs(model):
    found = profiled(model)
    assert found["transfers_ms"] is None and found["conditions"]["cuda_graph"] is None
    printed = run_here("profile", model, "--device", "cpu", "--seconds", "0.1").stdout
    assert "CUDA graph" not in printed and "ms out" not in printed


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--qps", "5"), "--qps says nothing without --scenario"),
        (("--scenario", "offline", "--layers"), "--layers says nothing in a scenario"),
        (("--scenario", "offline", "--qps", "5"), "offline has no rate"),
        (("--scenario", "offline", "--batch", "1,2"), "a scenario takes one batch"),
        (("--plot", "p.txt"), "a plot cannot be written as"),
    ],
)
def test_options_that_say_nothing_are_refused(model, options, says):
    done = run_here("profile", model, *options)
    assert done.returncode == 1
    assert says in done.stderr
