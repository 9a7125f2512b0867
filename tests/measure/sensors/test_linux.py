import os

import pytest
from machines import files, hwmon, zones

from edgecnn.measure.sensors import linux
from edgecnn.measure.sensors.linux import CpuTime


def policy(number: int, **contents: object) -> dict[str, object]:
    return {
        f"sys/devices/system/cpu/cpufreq/policy{number}/{name}": value for name, value in contents.items()
    }


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC 7B13\n", "AMD EPYC 7B13"),
        ("processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n", "ARMv8 Processor rev 1 (v8l)"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n", "Cortex-A78AE"),
        (
            "processor\t: 0\nCPU part\t: 0xd08\nCPU implementer\t: 0x41\nModel\t: Raspberry Pi 4\n",
            "Raspberry Pi 4",
        ),
    ],
)
def test_the_processor_has_a_name(tmp_path, cpuinfo, name):
    assert linux.cpu_model(files(tmp_path, {"proc/cpuinfo": cpuinfo})) == name


X86 = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7B13\nflags\t\t: fpu vme\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n"
QEMU_MAX = "processor\t: 0\nCPU implementer\t: 0x00\nCPU part\t: 0x051\n"
VIRTUAL = X86.replace("AMD EPYC 7B13", "QEMU Virtual CPU version 2.5+")


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "kernel", "emulated"),
    [
        ("x86_64", X86, "x86_64", False),
        ("aarch64", ARM, "aarch64", False),
        ("aarch64", ARM, None, False),
        ("armv7l", ARM, "aarch64", False),  # 32-bit programs on a 64-bit kernel
        ("i686", X86, "x86_64", False),
        ("aarch64", X86, None, True),  # qemu-user up to 8.1, on Linux up to 6.0
        ("aarch64", ARM, "x86_64", True),  # a later one, which invents a processor
        ("aarch64", QEMU_MAX, None, True),
        ("x86_64", X86, "aarch64", True),  # Rosetta, FEX
        ("x86_64", X86.replace("AMD EPYC 7B13", "QEMU TCG CPU version 2.5+"), "x86_64", True),
        ("x86_64", VIRTUAL, "x86_64", True),
        ("riscv64", "processor\t: 0\nisa\t: rv64imafdc\n", "riscv64", False),
        ("aarch64", None, None, False),
    ],
)
def test_an_imitated_processor_is_told_from_a_real_one(tmp_path, machine, cpuinfo, kernel, emulated):
    contents = {"proc/cpuinfo": cpuinfo, "proc/sys/kernel/arch": kernel}
    root = files(tmp_path, {name: content for name, content in contents.items() if content is not None})
    assert linux.emulated(root, machine) is emulated


def test_a_virtual_processor_that_kvm_runs_is_not_imitated(tmp_path):
    clocks = "sys/devices/system/clocksource/clocksource0/available_clocksource"
    root = files(tmp_path, {"proc/cpuinfo": VIRTUAL, clocks: "kvm-clock tsc acpi_pm"})
    assert not linux.emulated(root, "x86_64")


def test_each_group_of_cores_has_a_clock(tmp_path):
    clock = {"scaling_governor": "schedutil", "scaling_cur_freq": 729600, "scaling_min_freq": 115200}
    files(
        tmp_path,
        {
            **policy(4, affected_cpus="4 5", **clock, scaling_max_freq=1510400),
            **policy(0, affected_cpus="0 1 2 3", **clock, scaling_max_freq=1510400),
        },
    )
    first, last = linux.cpu_clocks(tmp_path)
    assert (first.cores, last.cores) == ("0 1 2 3", "4 5")
    assert (last.governor, last.mhz, last.min_mhz, last.max_mhz) == ("schedutil", 729.6, 115.2, 1510.4)


def test_policies_are_in_the_order_of_their_cores(tmp_path):
    files(tmp_path, {**policy(10, x=1), **policy(9, x=1)})
    assert [folder.name for folder in linux.policies(tmp_path)] == ["policy9", "policy10"]


def test_only_sensors_that_measure_are_thermometers(tmp_path):
    files(
        tmp_path,
        {
            **zones(cpu_thermal=46000, cv0_thermal=-256000, PMIC_Die=100000, tj_thermal="no number"),
            **hwmon(1, "k10temp", temp1_input=55000, temp1_label="Tctl"),
            **hwmon(2, "nvme", temp1_input=40000, temp1_label="Composite"),
        },
    )
    assert list(linux.thermometers(tmp_path)) == ["cpu-thermal", "Tctl"]


def test_zones_of_one_type_are_told_apart(tmp_path):
    folder = "sys/class/thermal/thermal_zone"
    files(
        tmp_path,
        {f"{folder}{n}/{key}": value for n in (0, 1) for key, value in (("type", "acpitz"), ("temp", 1))},
    )
    assert list(linux.thermometers(tmp_path)) == ["acpitz", "acpitz 1"]


def test_fans_hold_no_clock_back(tmp_path):
    kinds = [
        "pwm-fan",
        "cpu-throttle-alert",
        "devfreq-gpu-gpc-0",
        "cpufreq-cpu0",
        "hot-surface-alert",
        "intel_powerclamp",
    ]
    files(tmp_path, {f"sys/class/thermal/cooling_device{n}/type": kind for n, kind in enumerate(kinds)})
    assert list(linux.coolers(tmp_path)) == kinds[1:5]


def test_over_current_counts_where_it_throttles(tmp_path):
    chip = {"oc1_event_cnt": 0, "oc1_throt_en": 1, "oc2_event_cnt": 3, "oc2_throt_en": 0}
    files(
        tmp_path,
        {
            **hwmon(3, "soctherm_oc", **chip),
            "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": 7,
        },
    )
    assert list(linux.throttle_counters(tmp_path)) == ["CPU package too hot", "over-current 1"]


def test_load_and_memory_are_read(tmp_path):
    files(
        tmp_path,
        {
            "proc/loadavg": "2.08 1.79 1.55 3/512 4242",
            "proc/meminfo": "MemTotal: 8 kB\nMemAvailable: 1000000 kB",
        },
    )
    assert (linux.load(tmp_path), linux.memory_available_mb(tmp_path)) == (2.08, 1024.0)


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({"AC/type": "Mains", "AC/online": 1, "BAT0/type": "Battery"}, "mains"),
        ({"AC/type": "Mains", "AC/online": 0, "BAT0/type": "Battery"}, "battery"),
        ({"hidpp_battery_0/type": "Battery", "hidpp_battery_0/scope": "Device"}, None),
        ({"ucsi-source-psy-1/type": "USB", "ucsi-source-psy-1/online": 1}, None),
        ({}, None),
    ],
)
def test_the_power_supply_is_mains_battery_or_unknown(tmp_path, supplies, expected):
    files(tmp_path, {f"sys/class/power_supply/{name}": value for name, value in supplies.items()})
    assert linux.power_supply(tmp_path) == expected


@pytest.mark.parametrize(
    ("contents", "cores"),
    [
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "0::/user/job",
                "sys/fs/cgroup/user/cpu.max": "200000 100000",
                "sys/fs/cgroup/user/job/cpu.max": "max 100000",
            },
            2.0,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/abc",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": 50000,
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": 100000,
            },
            0.5,
        ),
        ({"proc/self/cgroup": "3:cpu:/", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1}, None),
    ],
)
def test_a_control_group_limits_the_cores(tmp_path, contents, cores):
    assert linux.cpu_quota(files(tmp_path, contents)) == cores


@pytest.mark.parametrize(("cores", "words"), [([0, 1, 2, 3, 6], "0-3,6"), ([5], "5"), ([0, 2, 4], "0,2,4")])
def test_cores_are_written_as_runs_and_counted(cores, words):
    assert (linux.ranges(cores), linux.count(words)) == (words, len(cores))


def test_processor_time_is_told_apart(tmp_path):
    tick = os.sysconf("SC_CLK_TCK")
    own = "951 (a name) with) R 947 947 19138 0 -1 4194304 102 0 1 0 20 30 0 0 20 0 1 0 3733538"
    root = files(
        tmp_path, {"proc/stat": "cpu  100 10 200 5000 60 7 3 40 50 0\ncpu0 1 1", "proc/self/stat": own}
    )
    found = CpuTime.read(root)
    # Guests (the 50) are part of the user's time already; idle and waiting for a disk are not busy.
    assert [found.busy, found.own, found.stolen] == pytest.approx([320 / tick, 50 / tick, 40 / tick])


def test_time_of_this_process_grows_with_its_work():
    before = CpuTime.read()
    total = sum(index * index for index in range(2_000_000))
    assert total and CpuTime.read().own - before.own >= 0.03
