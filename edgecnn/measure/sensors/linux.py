"""What any Linux says: processor, clocks, temperatures, throttling, load, power supply, limits."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edgecnn.measure.sensors.kernel_files import number, text
from edgecnn.operating_system import cores

_CPUINFO_NAMES = ("model name", "Model", "Hardware")
#: Arm cores by implementer and part number, for kernels that give no name.
#: Source: Linux, arch/arm64/include/asm/cputype.h.
_ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd83"): "Neoverse-V3AE",
    ("0x4e", "0x003"): "NVIDIA Denver 2",
    ("0x4e", "0x004"): "NVIDIA Carmel",
}
#: Families of processors by the beginning of their names, as uname and /proc/sys/kernel/arch have them.
_FAMILIES = {"x86": ("x86", "i386", "i486", "i586", "i686", "amd64"), "arm": ("arm", "aarch64")}
#: What QEMU's own processors call themselves; under KVM, which is not slow, the second name is possible too.
_QEMU_CPUS = ("QEMU TCG CPU", "QEMU Virtual CPU")
#: Chips of hwmon that sit in processors without a thermal zone.
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower")
#: A sensor that is switched off, or answers nonsense.
_PLAUSIBLE_C = (-40.0, 150.0)


@dataclass(frozen=True)
class CpuClock:
    """A group of cores with one clock (a cpufreq policy), and the limits within which it moves."""

    cores: str
    governor: str | None
    mhz: float | None
    min_mhz: float | None
    max_mhz: float | None


def cpu_model(root: Path = Path("/")) -> str:
    """Return the processor's name as the kernel has it, or "unknown"."""
    fields = _cpuinfo(root)
    for name in _CPUINFO_NAMES:
        if fields.get(name):
            return fields[name]
    part = _ARM_PARTS.get((fields.get("CPU implementer", ""), fields.get("CPU part", "")))
    return part or platform.processor() or "unknown"


def _cpuinfo(root: Path) -> dict[str, str]:
    """Return what /proc/cpuinfo says of the first core."""
    fields: dict[str, str] = {}
    for line in (text(root / "proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def emulated(root: Path = Path("/"), machine: str | None = None) -> bool:
    """Return whether a program imitates the processor: many times as slow, and slow in other places.

    `machine` is the architecture that programs see here, by default platform.machine(). Where the kernel's
    is of another family, qemu-user, Rosetta or their like run them. /proc/sys/kernel/arch (Linux 6.1)
    tells, or else /proc/cpuinfo, which newer versions of qemu-user invent for Arm. QEMU's own processors
    stand for a machine that is imitated as a whole, unless KVM runs it; one with the name of a real
    processor goes unseen.
    """
    fields = _cpuinfo(root)
    seen = _family(machine or platform.machine())
    real = _family(text(root / "proc/sys/kernel/arch") or "") or _cpuinfo_family(fields)
    if seen and real and seen != real:
        return True
    if fields.get("CPU implementer") == "0x00":  # reserved; qemu's processor "max"
        return True
    clocks = text(root / "sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
    return fields.get("model name", "").startswith(_QEMU_CPUS) and "kvm-clock" not in clocks.split()


def _family(architecture: str) -> str | None:
    return next((name for name, starts in _FAMILIES.items() if architecture.startswith(starts)), None)


def _cpuinfo_family(fields: dict[str, str]) -> str | None:
    if "vendor_id" in fields and "flags" in fields:
        return "x86"
    return "arm" if "CPU implementer" in fields else None


def cpu_clocks(root: Path = Path("/")) -> list[CpuClock]:
    """Return the clocks of the cores in MHz, one entry for each policy; empty where there is no cpufreq."""

    def mhz(folder: Path, name: str) -> float | None:
        value = number(folder / name)
        return value / 1e3 if value is not None else None

    return [
        CpuClock(
            text(folder / "affected_cpus") or folder.name.removeprefix("policy"),
            text(folder / "scaling_governor"),
            mhz(folder, "scaling_cur_freq"),
            mhz(folder, "scaling_min_freq"),
            mhz(folder, "scaling_max_freq"),
        )
        for folder in policies(root)
    ]


def policies(root: Path = Path("/")) -> list[Path]:
    """Return the folders of the cpufreq policies, in the order of their cores."""
    found = (root / "sys/devices/system/cpu/cpufreq").glob("policy[0-9]*")
    return sorted(found, key=lambda folder: int(folder.name.removeprefix("policy")))


def thermometers(root: Path = Path("/")) -> dict[str, Path]:
    """Return the files of the temperatures, in 1/1000 degree, by name: thermal zones, and CPU chips of hwmon.

    A zone called PMIC-Die is left out: on Jetson boards up to Xavier it is 50 or 100 degrees at all times.
    """
    found: dict[str, Path] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        name = text(zone / "type") or zone.name
        if not name.startswith("PMIC"):
            found[name if name not in found else f"{name} {zone.name.removeprefix('thermal_zone')}"] = (
                zone / "temp"
            )
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if text(chip / "name") in _CPU_CHIPS:
            for file in sorted(chip.glob("temp*_input")):
                label = text(file.with_name(file.name.replace("_input", "_label")))
                found[label or f"{text(chip / 'name')} {file.name.removesuffix('_input')}"] = file
    return {name: file for name, file in found.items() if plausible(number(file)) is not None}


def plausible(milli: float | None) -> float | None:
    """Return a temperature of 1/1000 degree in degrees; None for what no chip that runs can have."""
    if milli is None or not _PLAUSIBLE_C[0] < milli / 1e3 < _PLAUSIBLE_C[1]:
        return None
    return milli / 1e3


def coolers(root: Path = Path("/")) -> dict[str, Path]:
    """Return files that are above 0 while heat or current holds a clock back, by name.

    They are the kernel's cooling devices, but for fans; the Jetson's "-throttle-alert" are among them.
    """
    kinds = ("cpufreq-", "devfreq-", "thermal-cpufreq-", "thermal-devfreq-", "hot-surface-alert", "Processor")
    found = {}
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind = text(device / "type") or ""
        if kind.startswith(kinds) or kind.endswith("-throttle-alert"):
            name = kind if kind not in found else f"{kind} {device.name.removeprefix('cooling_device')}"
            found[name] = device / "cur_state"
    return found


def throttle_counters(root: Path = Path("/")) -> dict[str, Path]:
    """Return files that count how often a clock was held back, by name.

    They are Intel's thermal throttling of the package, and the Jetson's over-current events (soctherm_oc).
    """
    package = root / "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
    found = {"CPU package too hot": package} if number(package) is not None else {}
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if text(chip / "name") == "soctherm_oc":
            for file in sorted(chip.glob("oc*_event_cnt")):
                if number(file.with_name(file.name.replace("event_cnt", "throt_en"))):
                    found[f"over-current {file.name[2:3]}"] = file
    return found


def load(root: Path = Path("/")) -> float | None:
    """Return the load average of the last minute."""
    found = text(root / "proc/loadavg")
    return float(found.split()[0]) if found else None


def memory_available_mb(root: Path = Path("/")) -> float | None:
    """Return the memory that programs can still have, in 10^6 bytes."""
    for line in (text(root / "proc/meminfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key == "MemAvailable":
            return round(int(value.split()[0]) * 1024 / 1e6, 1)
    return None


def power_supply(root: Path = Path("/")) -> str | None:
    """Return "mains" or "battery"; None where the kernel knows of no supply, as on most boards."""
    battery = False
    for supply in sorted((root / "sys/class/power_supply").glob("*")):
        kind = text(supply / "type")
        # A UCSI supply describes what a USB-C port has agreed on, also one that gives power.
        if kind in ("Mains", "USB") and number(supply / "online") == 1 and "ucsi" not in supply.name:
            return "mains"
        # A mouse has a battery too, of scope "Device".
        battery |= kind == "Battery" and text(supply / "scope") != "Device"
    return "battery" if battery else None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return how many cores' time the control group allows; None without a limit. Outer groups count too."""
    limits = []
    groups = (line.split(":", 2) for line in (text(root / "proc/self/cgroup") or "").splitlines())
    for _, controllers, path in (group for group in groups if len(group) == 3):
        inner = Path(path.lstrip("/"))
        for group in (inner, *inner.parents):
            if controllers == "":  # version 2: "MAX PERIOD"
                quota, _, period = (text(root / "sys/fs/cgroup" / group / "cpu.max") or "max").partition(" ")
                limits += [float(quota) / float(period)] if quota != "max" else []
            elif "cpu" in controllers.split(","):
                folder = root / "sys/fs/cgroup" / controllers / group
                microseconds, each = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
                limits += [microseconds / each] if microseconds and each and microseconds > 0 else []
    return min(limits, default=None)


def affinity() -> str:
    """Return the cores that this process may use, like "0-3,6"."""
    return ranges(cores())


def count(cores: str) -> int:
    """Return how many cores a list like "0-3,6" names."""
    ends = (run.partition("-")[::2] for run in cores.split(","))
    return sum(int(high or low) - int(low) + 1 for low, high in ends)


def ranges(numbers: list[int]) -> str:
    """Return ascending numbers with runs joined: "0-3,6"."""
    runs: list[list[int]] = []
    for value in numbers:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


@dataclass(frozen=True)
class CpuTime:
    """Seconds of processor time since the start: all, this process' part, and what a host took away."""

    busy: float
    own: float
    stolen: float

    @classmethod
    def read(cls, root: Path = Path("/")) -> CpuTime | None:
        """Return the times now; None if /proc cannot be read."""
        total = (text(root / "proc/stat") or "").partition("\n")[0].split()
        mine = (text(root / "proc/self/stat") or "").rpartition(")")[2].split()
        if len(total) < 9 or len(mine) < 13:
            return None
        tick = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, softirq, steal = (float(value) / tick for value in total[1:9])
        own = (float(mine[11]) + float(mine[12])) / tick
        return cls(user + nice + system + irq + softirq, own, steal)
