"""Jetson boards by the files of their kernel: release, power mode, power rails, GPU clock, fan.

Sources: NVIDIA Jetson Linux Developer Guide, "Platform Power and Performance"; what each rail is and which
boards were looked at: tests/measure/recorded/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecnn.measure.sensors import jetson_tools
from edgecnn.measure.sensors.jetson_tools import PowerMode
from edgecnn.measure.sensors.kernel_files import keep_open, number, text
from edgecnn.measure.sensors.tools import Run

#: JetPack by release of Jetson Linux (L4T): https://developer.nvidia.com/embedded/jetpack-archive
_JETPACK = {
    "32.5.0": "4.5", "32.5.1": "4.5.1", "32.6.1": "4.6", "32.7.1": "4.6.1", "32.7.2": "4.6.2",
    "32.7.3": "4.6.3", "32.7.4": "4.6.4", "35.1.0": "5.0.2", "35.2.1": "5.1", "35.3.1": "5.1.1",
    "35.4.1": "5.1.2", "35.5.0": "5.1.3", "35.6.0": "5.1.4", "36.3.0": "6.0", "36.4.0": "6.1",
    "36.4.3": "6.2", "36.4.4": "6.2.1", "36.4.7": "6.2.1", "36.5.0": "6.2.2", "36.5.2": "6.2.3",
    "38.2.0": "7.0", "38.4.0": "7.1", "39.2.0": "7.2", "39.2.1": "7.2.1",
}  # fmt: skip
#: Rails that carry all of a module's or board's power, and else the sets of rails that add up to it. Other
#: rails are parts of these: VDDQ_VDD2_1V8AO of VIN_SYS_5V0, for one.
_WHOLE = ("VIN", "VDD_IN", "POM_5V_IN")
_PARTS = (
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)


@dataclass(frozen=True)
class Release:
    """The system of a board: Jetson Linux (L4T), and the JetPack that it belongs to, None if unknown."""

    l4t: str
    jetpack: str | None

    def __str__(self) -> str:
        return f"L4T {self.l4t}" + (f" (JetPack {self.jetpack})" if self.jetpack else "")


def is_jetson(root: Path = Path("/")) -> bool:
    """Return whether this is a Jetson board, which has the release file of Jetson Linux."""
    return (root / "etc/nv_tegra_release").exists()


def release(root: Path = Path("/")) -> Release | None:
    """Return what /etc/nv_tegra_release says: "# R36 (release), REVISION: 4.3, ..." is L4T 36.4.3."""
    found = re.search(
        r"R(\d+) \(release\), REVISION: (\d+)\.(\d+)", text(root / "etc/nv_tegra_release") or ""
    )
    if not found:
        return None
    l4t = ".".join(found.groups())
    return Release(l4t, _JETPACK.get(l4t))


def model(root: Path = Path("/")) -> str | None:
    """Return the board's name from the device tree; other boards than Jetson have one too."""
    return text(root / "proc/device-tree/model") or text(root / "sys/firmware/devicetree/base/model")


def power_mode(root: Path, run: Run) -> PowerMode | None:
    """Return nvpmodel's mode: as the tool says, or else by the file in which it keeps it."""
    found = jetson_tools.power_mode(run(["nvpmodel", "-q"], 10.0).output)
    if found is not None:
        return found
    kept = re.search(r"\bpmode:(\d+)", text(root / "var/lib/nvpmodel/status") or "")
    names = {mode: name for name, mode in power_modes(root).items()}
    return PowerMode(names.get(int(kept[1]), kept[1]), int(kept[1])) if kept else None


def power_modes(root: Path = Path("/")) -> dict[str, int]:
    """Return the numbers of the modes that this board has, by their names."""
    return jetson_tools.power_modes(text(root / "etc/nvpmodel.conf") or "")


def rails(root: Path = Path("/")) -> dict[str, Callable[[], float | None]]:
    """Return what reads the power of each rail, in W, by the rail's name; empty where no sensor can be read.

    INA3221 chips give volts and amperes (JetPack 5 and later, as hwmon) or watts (JetPack 4, as iio); the
    INA238 of the Thor's carrier board gives watts.
    """
    found: dict[str, Callable[[], float | None]] = {}
    for chip in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        kind = text(chip / "name")
        if kind == "ina3221":
            for label in sorted(chip.glob("in[123]_label")):
                volts = keep_open(label.with_name(label.name.replace("_label", "_input")), 1e-3)
                amperes = keep_open(chip / f"curr{label.name[2]}_input", 1e-3)
                name = text(label)
                # A channel that is not connected has no label, the label NC, or answers with an error.
                if name and name != "NC" and volts and amperes:
                    found[name] = _product(volts, amperes)
        elif kind == "ina238":
            watts = keep_open(chip / "power1_input", 1e-6)
            if watts:
                found[text(chip / "label") or "VIN"] = watts
    for device in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio*device*")):
        for label in sorted(device.glob("rail_name_[012]")):
            watts = keep_open(device / f"in_power{label.name[-1]}_input", 1e-3)
            if watts:
                found[text(label) or label.name] = watts
    return found


def _product(
    first: Callable[[], float | None], second: Callable[[], float | None]
) -> Callable[[], float | None]:
    def read() -> float | None:
        one, other = first(), second()
        return None if one is None or other is None else one * other

    return read


def whole(names: set[str]) -> tuple[str, ...]:
    """Return the rails that together are all of the module's or board's power; empty if that is not known."""
    for name in _WHOLE:
        if name in names:
            return (name,)
    return next((parts for parts in _PARTS if set(parts) <= names), ())


def gpu_folder(root: Path = Path("/")) -> Path | None:
    """Return the devfreq folder of the GPU's clock: 17000000.gpu, 17000000.ga10b, 57000000.gpu, gpu-gpc-0."""
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if folder.name == "gpu-gpc-0" or folder.name.endswith((".gpu", ".ga10b", ".gv11b", ".gp10b")):
            return folder
    return None


def fan_percent(root: Path = Path("/")) -> float | None:
    """Return how fast the fan is told to turn; None without a fan."""
    driven = [
        chip / "pwm1" for chip in (root / "sys/class/hwmon").glob("hwmon*") if text(chip / "name") == "pwmfan"
    ]
    for file in (*driven, root / "sys/devices/pwm-fan/target_pwm"):  # the last one: JetPack 4
        value = number(file)
        if value is not None:
            return round(100 * value / 255)
    return None


def cuda_version(root: Path = Path("/")) -> str | None:
    """Return the version of the CUDA toolkit in /usr/local/cuda."""
    found = re.search(
        r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([^"]+)"', text(root / "usr/local/cuda/version.json") or ""
    )
    return found[1] if found else None
