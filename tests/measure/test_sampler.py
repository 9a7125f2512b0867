import math
import threading
import time

import pytest
from machines import AGX_ORIN, files

from edgecnn.measure.conditions.probes import Probe, find_probes
from edgecnn.measure.conditions.sampler import Sampler


class Clock:
    """A clock that only those who read it move: a sample takes one step, and so does the way to the next."""

    step = 0.01

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += self.step
        return self.now

    @property
    def middle(self) -> float:
        """The moment that counts as the sample's, while it is being taken."""
        return self.now + self.step / 2


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("edgecnn.measure.conditions.sampler.time", clock)
    return clock


def wait_for(condition) -> None:
    """Wait, however slow the machine is."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def watch(*probes: Probe, samples: int = 8, **options):
    """Return what was seen in so many samples, or a few more."""
    taken = []

    def count() -> float:
        taken.append(1)
        return 0.0

    with Sampler((*probes, Probe("counter", "state", count)), interval=0.002, **options) as sampler:
        wait_for(lambda: len(taken) >= samples)
    return sampler.summary()


def ticking(values):
    """Return a reader that gives each value once, and the last one from then on."""
    values = list(values)
    return lambda: values.pop(0) if len(values) > 1 else values[0]


def test_energy_is_power_times_time():
    found = watch(Probe("VDD_IN", "power", lambda: 5.0, whole=True))
    assert found.seconds > 0 and found.samples >= 8
    assert found.joules == pytest.approx(5 * found.seconds) and found.watts == pytest.approx(5)


def test_power_that_changes_is_integrated(clock):
    # 100 W a second: the mean of a line is its middle.
    found = watch(Probe("rail", "power", lambda: 100 * clock.middle))
    first = 1.5 * clock.step
    assert found.power_w["rail"] == pytest.approx(100 * (first + found.seconds / 2))


def test_a_counter_gives_the_energy_between_its_ends(clock):
    found = watch(Probe("package-0", "energy", lambda: 3 * clock.middle, whole=True))
    assert found.watts == pytest.approx(3)


def test_turns_get_their_own_energy(clock):
    spans = {"idle": [], "busy": []}
    now = "idle"
    probe = Probe("rail", "power", lambda: {"idle": 2.0, "busy": 10.0}[now], whole=True)
    with Sampler([probe], interval=0.001) as sampler:
        for now in ("idle", "busy", "idle", "busy"):
            start = clock.now
            wait_for(lambda start=start: clock.now > start + 0.5)
            spans[now].append((start, clock.now))
    # A sample at the border of two turns belongs half to each.
    assert sampler.summary(spans["idle"]).watts == pytest.approx(2, abs=0.8)
    assert sampler.summary(spans["busy"]).watts == pytest.approx(10, abs=0.8)
    assert sampler.summary(spans["busy"]).seconds == pytest.approx(1, rel=0.2)


def test_a_turn_shorter_than_the_interval_has_energy():
    with Sampler([Probe("rail", "power", lambda: 4.0, whole=True)], interval=0.05) as sampler:
        time.sleep(0.12)
        end = time.perf_counter()
    assert sampler.summary([(end - 0.061, end - 0.06)]).joules == pytest.approx(0.004)


def test_parts_of_the_power_are_not_added_to_the_whole():
    found = watch(
        Probe("VDD_IN", "power", lambda: 7.0, whole=True),
        Probe("VDD_SOC", "power", lambda: 2.0),
        Probe("gpu", "energy", lambda: 0.0, whole=True),
    )
    assert found.whole == ("VDD_IN", "gpu") and found.watts == pytest.approx(7)
    assert found.power_w == {"VDD_IN": pytest.approx(7), "VDD_SOC": pytest.approx(2), "gpu": 0}


def test_a_reading_that_fails_is_bridged():
    found = watch(Probe("rail", "power", ticking([6.0, None, 6.0, None, 6.0]), whole=True))
    assert found.joules == pytest.approx(6 * found.seconds)


def test_without_a_sensor_the_power_is_unknown_for_a_reason():
    found = watch(Probe("dead", "power", lambda: None, whole=True), why_no_power=["RAPL: permission denied"])
    assert (found.joules, found.watts, found.whole, found.power_w) == (None, None, (), {})
    assert found.to_json()["why_no_power"] == ["RAPL: permission denied"]


def test_heat_is_the_highest_and_clocks_are_lowest_and_mean():
    found = watch(
        Probe("tj", "temperature", ticking([41.0, 63.0, 52.0])),
        Probe("gpu", "clock", ticking([1020.0, 306.0, 1020.0])),
    )
    assert found.temperature_max_c == {"tj": 63.0}
    assert found.clock_min_mhz == {"gpu": 306.0}
    assert 306 < found.clock_mean_mhz["gpu"] < 1020


def test_whatever_held_the_machine_back_is_named():
    found = watch(
        Probe("gpu-throttle-alert", "state", ticking([0.0, 1.0, 0.0])),
        Probe("cpufreq-cpu0", "state", lambda: 0.0),
        Probe("over-current 3", "count", ticking([4.0, 4.0, 5.0])),
        Probe("over-current 1", "count", lambda: 9.0),
        Probe("gpu", "bits", ticking([0x1, 0x4, 0x40, 0x1])),
    )
    assert found.throttled == (
        *("gpu-throttle-alert", "over-current 3"),
        *("gpu: power cap", "gpu: too hot (hardware)"),
    )


def test_the_thread_ends_when_the_measurement_fails():
    with pytest.raises(ZeroDivisionError), Sampler([]):
        assert any(thread.name == "sampler" for thread in threading.enumerate())
        math.floor(1 / 0)
    assert not any(thread.name == "sampler" for thread in threading.enumerate())


def test_a_board_is_watched_by_all_of_its_sensors(tmp_path):
    root = files(tmp_path, AGX_ORIN)
    probes, reasons = find_probes(root)
    assert not reasons
    with Sampler(probes, interval=0.01) as sampler:
        time.sleep(0.03)
        files(
            root, {"sys/class/hwmon/hwmon3/oc3_event_cnt": 6, "sys/class/thermal/thermal_zone2/temp": 61000}
        )
        time.sleep(0.03)
    found = sampler.summary()
    assert found.whole == ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
    assert found.watts == pytest.approx(9.8 + 4.9 + 8.0)
    assert found.temperature_max_c == {"cpu-thermal": 46.0, "tj-thermal": 61.0}
    assert found.clock_mean_mhz == {"gpu": 306.0} and found.throttled == ("over-current 3",)


def test_a_gpu_that_is_switched_off_has_no_clock(tmp_path):
    root = files(tmp_path, {**AGX_ORIN, "sys/class/devfreq/17000000.gpu/cur_freq": 0})
    with Sampler(find_probes(root)[0], interval=0.01) as sampler:
        pass
    assert sampler.summary().clock_min_mhz == {}


def test_a_board_whose_rails_cannot_be_read_says_so(tmp_path):
    root = files(tmp_path, {"etc/nv_tegra_release": "# R36 (release), REVISION: 4.3"})
    assert find_probes(root) == ([], ["Jetson: no INA3221 sensor can be read under /sys"])


def test_the_packages_of_a_cpu_are_the_whole(tmp_path):
    zone = "sys/class/powercap/intel-rapl:0"
    root = files(
        tmp_path, {f"{zone}/name": "package-0", f"{zone}/energy_uj": 1, f"{zone}/max_energy_range_uj": 9}
    )
    assert [probe.name for probe in find_probes(root)[0] if probe.whole and probe.name != "gpu"] == [
        "package-0"
    ]
