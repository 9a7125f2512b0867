"""What tegrastats, nvpmodel and jetson_clocks print, from JetPack 4 to 7.

The forms are those of NVIDIA's Jetson Linux Developer Guide ("tegrastats Utility", "Platform Power and
Performance") and of recorded boards (tests/measure/recorded).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgecnn.measure.sensors.tools import Run


@dataclass(frozen=True)
class Tegrastats:
    """One line of tegrastats. None, or a name that is missing, is what the board does not report.

    `cpu_mhz` has one entry for each core, None for one that is off.
    """

    ram_used_mb: int | None
    ram_total_mb: int | None
    cpu_load: tuple[float | None, ...]
    cpu_mhz: tuple[int | None, ...]
    memory_mhz: int | None
    gpu_load: float | None
    gpu_mhz: int | None
    temperatures_c: dict[str, float]
    power_w: dict[str, float]


@dataclass(frozen=True)
class PowerMode:
    """What nvpmodel calls the power mode, and its number on this board."""

    name: str
    number: int


@dataclass(frozen=True)
class Clock:
    """A clock's lowest, highest and present rate, in MHz."""

    min_mhz: float
    max_mhz: float
    mhz: float

    @property
    def pinned(self) -> bool:
        """Whether it cannot move."""
        return self.min_mhz == self.max_mhz


def tegrastats(line: str) -> Tegrastats:
    """Read one line; what it does not hold is None or missing."""
    ram = re.search(r"\bRAM (\d+)/(\d+)MB", line)
    # GR3D_FREQ 84%@[713] (JetPack 5 and 6), 0%@[0,0] (AGX Orin: two clusters), 0%@114, 99%, @[314,314,314].
    gpu = re.search(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?(\d+))?", line)
    memory = re.search(r"\bEMC_FREQ \d+%@(\d+)", line)
    cores = _cores(line)
    temperatures = re.findall(r"([A-Za-z]\w*)@(-?[\d.]+)C\b", line)
    # VDD_IN 6140/5510 (JetPack 4: now/mean, in mW), VDD_IN 2763mW/2846mW; JetPack 7 adds the peak.
    power = re.findall(r"([A-Za-z]\w*) (-?\d+)(?:mW(?:/-?\d+mW)*|/-?\d+)(?=\s|$)", line)
    return Tegrastats(
        int(ram[1]) if ram else None,
        int(ram[2]) if ram else None,
        tuple(load for load, _ in cores),
        tuple(mhz for _, mhz in cores),
        int(memory[1]) if memory else None,
        float(gpu[1]) if gpu and gpu[1] else None,
        int(gpu[2]) if gpu and gpu[2] else None,
        {name: float(value) for name, value in temperatures if _is_measured(name, float(value))},
        {name: int(value) / 1e3 for name, value in power if name != "NC"},  # NC: not connected
    )


def _is_measured(name: str, degrees: float) -> bool:
    # A unit that is switched off has -256 degrees; PMIC is 50 or 100 on boards up to Xavier whatever happens.
    return degrees > -40 and name != "PMIC"


def _cores(line: str) -> list[tuple[float | None, int | None]]:
    listed = re.search(r"\bCPU \[([^]]*)\](?:@(\d+))?", line)
    if not listed:
        return []
    cores: list[tuple[float | None, int | None]] = []
    for core in listed[1].split(","):
        load, _, mhz = core.strip().partition("%")
        if load == "off":
            cores.append((None, None))
        else:
            rate = mhz.lstrip("@") or listed[2]
            cores.append((float(load), int(rate) if rate else None))
    return cores


def read_tegrastats(run: Run) -> Tegrastats | None:
    """Return what tegrastats says now, in half a second: it has to be stopped. None where there is none."""
    lines = [
        line for line in run(["tegrastats", "--interval", "100"], 0.5).output.splitlines() if "RAM " in line
    ]
    return tegrastats(lines[-1]) if lines else None


def power_mode(output: str) -> PowerMode | None:
    """Return the mode that `nvpmodel -q` names, with or without `--verbose`; None if it names none."""
    found = re.search(r"NV Power Mode: (\S+)\s*\n\s*(\d+)\s*$", output, re.MULTILINE)
    return PowerMode(found[1], int(found[2])) if found else None


def power_modes(configuration: str) -> dict[str, int]:
    """Return the numbers of the modes in nvpmodel.conf by their names."""
    modes = {}
    for body in re.findall(r"^\s*<\s*POWER_MODEL\s+([^>]*?)\s*>", configuration, re.MULTILINE):
        values = dict(word.partition("=")[::2] for word in body.split())
        if values.get("ID", "").isdigit() and "NAME" in values:
            modes[values["NAME"]] = int(values["ID"])
    return modes


def clocks(output: str) -> dict[str, Clock]:
    """Return the clocks that `jetson_clocks --show` lists: "cpu0", "GPU", "EMC", "gpu-gpc-0", "DLA0_CORE".

    CPU cores that are offline are left out. The tool gives CPU clocks in kHz and the others in Hz.
    """
    found = {}
    for line in output.splitlines():
        rates = re.search(r"MinFreq=(\d+) MaxFreq=(\d+) CurrentFreq=(\d+)", line)
        name = re.split(r"[:\s]", line.strip(), maxsplit=1)[0]
        if rates and not (name.startswith("cpu") and "Online=0" in line):
            unit = 1e3 if name.startswith("cpu") else 1e6
            low, high, now = (float(rates[index]) / unit for index in (1, 2, 3))
            found[name] = Clock(low, high, now)
    return found


def unpinned(output: str) -> list[str]:
    """Return the clocks of CPU and GPU that `jetson_clocks --show` finds free to move.

    Memory is not judged: on the Nano and the Orin its MinFreq stays low while an override holds it.
    """
    return [
        name
        for name, clock in clocks(output).items()
        if name.lower().startswith(("cpu", "gpu")) and not clock.pinned
    ]
