import copy
import dataclasses
import json
import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
from machines import AGX_ORIN, files, no_tools, recorded, tools, zones

from edgecnn.measure.conditions.machine import Machine, Snapshot
from edgecnn.measure.conditions.record_conditions import Conditions, differences
from edgecnn.measure.conditions.sampler import Summary
from edgecnn.measure.sensors.linux import CpuTime

ORIN_TOOLS = tools(
    {
        "nvpmodel -q": recorded("agx_orin_jp6", "nvpmodel_q"),
        "tegrastats --interval 100": recorded("agx_orin_jp5", "tegrastats"),
    }
)
POLICY = "sys/devices/system/cpu/cpufreq/policy0"
CPU = {
    "proc/sys/kernel/arch": platform.machine(),  # or these files would be an emulated board's
    "proc/cpuinfo": "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd42",
    f"{POLICY}/affected_cpus": "0 1 2 3",
    f"{POLICY}/scaling_governor": "schedutil",
    f"{POLICY}/scaling_min_freq": 729600,
    f"{POLICY}/scaling_max_freq": 1728000,
    f"{POLICY}/scaling_cur_freq": 1420800,
}


@pytest.fixture
def orin(tmp_path) -> Path:
    return files(tmp_path, {**AGX_ORIN, **CPU, "proc/loadavg": "0.42 0.1 0.1 1/2 3"})


def of(root: Path, *, device: str = "cpu", **during) -> Conditions:
    engine = SimpleNamespace(backend="onnxruntime", device=device, threads=0, launches_graph=None)
    machine, moment = Machine.read(root, ORIN_TOOLS), Snapshot.read(root, ORIN_TOOLS)
    return Conditions.of(engine, 8, machine, moment, moment, Summary(1.0, 10, **during))


def test_a_board_is_described_by_its_own_words(orin):
    machine = Machine.read(orin, ORIN_TOOLS)
    assert (
        machine.board == "NVIDIA Jetson AGX Orin Developer Kit"
        and machine.release == "L4T 36.4.3 (JetPack 6.2)"
    )
    assert (machine.cpu, machine.governor, machine.power_mode) == ("Cortex-A78AE", "schedutil", "MODE_30W")
    assert machine.cpu_limits_mhz == {"0": [729.6, 1728.0]} and machine.gpu_limits_mhz == [306.0, 1300.5]
    assert machine.unknown == {}


def test_what_is_unknown_has_a_reason(tmp_path):
    root = files(tmp_path, {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3"})
    machine = Machine.read(root, no_tools)
    assert machine.governor is None and machine.power_mode is None
    assert machine.unknown == {
        "governor": "this kernel shows no cpufreq",
        "power_mode": "nvpmodel: nvpmodel is not installed",
    }


def test_a_moment_holds_what_moves(orin):
    moment = Snapshot.read(orin, ORIN_TOOLS)
    assert moment.temperatures_c == {"cpu-thermal": 46.0, "tj-thermal": 47.0}
    assert (moment.cpu_mhz, moment.gpu_mhz, moment.memory_mhz) == ({"0": 1420.8}, 306.0, 2133)
    assert (moment.fan_percent, moment.load, moment.gpu_load) == (40, 0.42, 14.0)
    assert moment.power_w["VDD_CPU_CV"] == 14.312


def test_the_result_holds_every_condition(orin):
    found = of(orin, energy_j={"VDD_IN": 7.0}, whole=("VDD_IN",)).to_json()
    json.dumps(found, allow_nan=False)
    assert found["threads"] == "library's choice" and found["batch"] == 8 and found["load"] == 0.42
    assert found["backend"].startswith("onnxruntime 1.") and found["during"]["watts"] == 7.0
    assert found["before"]["temperatures_c"]["tj-thermal"] == 47.0 and set(found["after"]) == set(
        found["before"]
    )
    assert {"machine", "cpu", "cores", "governor", "device", "input", "transfers", "libraries"} <= set(found)


def test_other_programs_and_the_host_are_told_from_this_process(orin):
    found = of(orin)
    before = dataclasses.replace(found.before, time=100.0, cpu_time=CpuTime(50.0, 10.0, 5.0))
    after = dataclasses.replace(found.after, time=104.0, cpu_time=CpuTime(60.0, 14.0, 6.0))
    found = dataclasses.replace(found, before=before, after=after)
    assert (found.other_cores_busy, found.stolen_cores) == (1.5, 0.25)
    assert found.notes("m.onnx") == ["other programs kept 1.5 cores busy in the meantime"]


def test_notes_warn_of_throttling_and_batteries(orin):
    found = of(orin, throttled=("gpu-throttle-alert",))
    found = dataclasses.replace(found, machine=dataclasses.replace(found.machine, power_supply="battery"))
    throttled, battery = found.notes("m.onnx")
    assert "m.onnx was throttled" in throttled and "gpu-throttle-alert" in throttled and "battery" in battery


def test_an_emulated_machine_is_recorded_and_noted(orin):
    other = {"x86_64": "aarch64"}.get(platform.machine(), "x86_64")
    found = of(files(orin, {"proc/sys/kernel/arch": other}))
    assert found.to_json()["emulated"] is True
    assert found.notes("m.onnx") == ["this machine is emulated: its times say nothing of a board"]


def test_the_same_conditions_have_no_differences(orin):
    assert differences(of(orin).to_json(), of(orin).to_json()) == []


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("machine", "riscv64", "architecture: "),
        ("board", None, "board: NVIDIA Jetson AGX Orin Developer Kit and unknown"),
        ("cpu", "Cortex-A57", "CPU: Cortex-A78AE and Cortex-A57"),
        ("governor", "performance", "governor: schedutil and performance"),
        (
            "cpu_limits_mhz",
            {"0": [1728.0, 1728.0]},
            "CPU clock limits: 0: 729.6 to 1728.0 and 0: 1728.0 to 1728.0",
        ),
        ("gpu", "NVIDIA L4", "GPU: integrated and NVIDIA L4"),
        ("gpu_limits_mhz", [306.0, 612.0], "GPU clock limits: 306.0 to 1300.5 and 306.0 to 612.0"),
        ("driver", "580.65", "GPU driver: unknown and 580.65"),
        ("power_mode", "MAXN", "power mode: MODE_30W and MAXN"),
        ("power_supply", "battery", "power supply: unknown and battery"),
        ("backend", "openvino 2026.4", "backend: "),
        ("device", "cuda", "device: cpu and cuda"),
        ("threads", 1, "threads: library's choice and 1"),
        ("batch", 1, "batch: 8 and 1"),
        ("cuda_graph", True, "CUDA graph: unknown and yes"),
    ],
)
def test_each_condition_that_differs_is_named(orin, key, value, line):
    a, b = of(orin).to_json(), of(orin).to_json()
    b[key] = value
    (found,) = differences(a, b)
    assert found.startswith(line)
    assert differences(a, b, ignore=[key]) == []


@pytest.mark.parametrize(("device", "clock", "other"), [("cpu", "cpu 0", "gpu"), ("cuda", "gpu", "cpu 0")])
def test_the_clock_of_what_computed_may_differ_little(orin, device, clock, other):
    a = of(orin, device=device, clock_mean_mhz={clock: 1000.0, other: 100.0, "gpu memory": 2000.0}).to_json()
    for mhz, differs in ((1000.0, False), (960.0, False), (1040.0, False), (900.0, True), (1100.0, True)):
        b = copy.deepcopy(a)
        b["during"]["clock_mean_mhz"] = {clock: mhz, other: 700.0, "gpu memory": 9000.0}
        assert bool(differences(a, b)) == differs
    assert (
        differences(a, b) == ["mean clock: 1000 and 1100 MHz"] and differences(a, b, ignore=["clock"]) == []
    )


def test_only_the_busiest_cores_clock_counts(orin):
    a = of(orin, clock_mean_mhz={"cpu 0": 3000.0, "cpu 1": 800.0}).to_json()
    b = of(orin, clock_mean_mhz={"cpu 0": 900.0, "cpu 1": 3000.0}).to_json()
    assert differences(a, b) == []


def test_other_programs_make_results_unlike(orin):
    a, b = of(orin).to_json(), of(orin).to_json()
    a["other_cores_busy"], b["other_cores_busy"] = 0.1, 1.6
    assert differences(a, b) == ["other programs: 0.1 and 1.6 cores busy"]


def test_a_throttled_result_is_like_none(orin):
    a, b = of(orin).to_json(), of(orin, throttled=("gpu: power cap",)).to_json()
    assert differences(a, b) == ["the second was throttled: gpu: power cap"]
    assert differences(b, b) == [
        "the first was throttled: gpu: power cap",
        "the second was throttled: gpu: power cap",
    ]


def test_an_emulated_machine_is_unlike_a_real_one(orin):
    real = of(orin).to_json()
    emulated = {**real, "emulated": True}
    assert differences(real, emulated) == ["the second was measured on an emulated machine"]
    assert differences(emulated, real) == ["the first was measured on an emulated machine"]
    assert differences(emulated, emulated) == []


def test_a_result_from_before_emulation_was_recorded_is_like_a_real_one(orin):
    real = of(orin).to_json()
    assert differences({key: value for key, value in real.items() if key != "emulated"}, real) == []


def test_heat_alone_makes_no_difference(orin):
    a = of(orin).to_json()
    assert differences(a, of(files(orin, zones(cpu_thermal=71000))).to_json()) == []
