"""Disturbances that are planted, each of which a result must show by itself."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest
from machines import files, no_tools
from measure.test_measure import Clock, Stub
from program import run_here

from edgecnn.errors import ConditionsError
from edgecnn.measure.conditions.machine import Machine
from edgecnn.measure.latency.profile_engines import profile
from edgecnn.measure.latency.regression_gate import compare_results
from edgecnn.measure.sensors.linux import CpuTime

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
#: Seconds that a throttled process runs and is stopped, in turns: a tenth of an inference or less.
_PERIOD = 0.002


@pytest.fixture
def neighbour():
    """Another process that keeps a core busy."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield busy
    busy.kill()
    busy.wait()


def cpu_seconds(process: int) -> float:
    """What a process has spent of the processor's time, by its own kernel file."""
    with open(f"/proc/{process}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9


@pytest.mark.skipif(CpuTime.read() is None, reason="this kernel does not say what its cores do")
def test_a_busy_neighbour_is_in_the_conditions_and_in_a_note(tmp_path, neighbour):
    start, spent = time.perf_counter(), cpu_seconds(neighbour.pid)
    (result,) = profile([Stub(tmp_path / "a")], seconds=1.0)
    cores = (cpu_seconds(neighbour.pid) - spent) / (time.perf_counter() - start)
    assert result.conditions.other_cores_busy > 0.7 * cores > 0
    noted = [note for note in result.notes if note.startswith("other programs kept")]
    assert bool(noted) == (result.conditions.other_cores_busy > 0.25)


def test_a_governor_that_changed_between_two_results_is_named(tmp_path, monkeypatch):
    root, read = tmp_path / "machine", Machine.read
    monkeypatch.setattr(Machine, "read", lambda: read(root, no_tools))
    clock = Clock()
    monkeypatch.setattr("edgecnn.measure.latency.profile_engines.time", clock)
    engine = Stub(tmp_path / "m.onnx", clock, 0.004)
    for governor in ("schedutil", "performance"):
        files(root, {f"{POLICY}/affected_cpus": "0 1", f"{POLICY}/scaling_governor": governor})
        (result,) = profile([engine], seconds=0.2)
        (tmp_path / f"{governor}.json").write_text(json.dumps(result.to_json()))
    new, old = str(tmp_path / "performance.json"), str(tmp_path / "schedutil.json")
    with pytest.raises(ConditionsError, match="governor: schedutil and performance"):
        compare_results(new, old)
    done = run_here("compare", new, old, "--force")
    assert done.returncode == 0 and "unlike: governor: schedutil and performance" in done.stdout


def throttle(process: subprocess.Popen) -> None:
    """Let a process run half of the time until it ends."""
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        time.sleep(_PERIOD)
        process.send_signal(signal.SIGCONT)
        time.sleep(_PERIOD)


@pytest.mark.slow
def test_a_process_that_is_slowed_half_way_says_since_when(exported):
    seconds = 8.0
    command = ["profile", str(exported("resnet18")), "--seconds", str(seconds), "--threads", "1", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgecnn", *command, "--no-store"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    next(line for line in process.stderr if line.startswith("measure"))
    throttling = threading.Timer(seconds / 2, throttle, [process])
    throttling.start()
    result = json.loads(process.communicate()[0])
    throttling.join()
    steadiness = result["steadiness"]
    assert steadiness["verdict"] == "slower" and steadiness["ratio"] > 1.3
    assert steadiness["at_seconds"] == pytest.approx(seconds / 2, abs=1.0)
    assert any("slower after" in note for note in result["notes"])
