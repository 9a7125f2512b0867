"""What can be read on this machine again and again while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgecnn.measure.sensors import jetson, linux, nvml, rapl
from edgecnn.measure.sensors.kernel_files import keep_open

Quantity = Literal["power", "energy", "temperature", "clock", "state", "count", "bits"]


@dataclass(frozen=True)
class Probe:
    """Something that is read again and again.

    `quantity` says what `read` returns: power in W, energy in J since some moment, a temperature in
    degrees Celsius, a clock in MHz; a state that is above 0 while the machine is held back, a count of such
    events, or NVML's bits of reasons. `whole` marks the power and energy that add up to the machine's.
    """

    name: str
    quantity: Quantity
    read: Callable[[], float | None]
    whole: bool = False


def find_probes(root: Path = Path("/")) -> tuple[list[Probe], list[str]]:
    """Return what can be read on this machine, and why no power can be if none can."""
    probes: list[Probe] = []
    reasons: list[str] = []
    for name, file in linux.thermometers(root).items():
        read = keep_open(file, 1e-3)
        if read:
            probes.append(Probe(name, "temperature", read))
    for policy in linux.policies(root):
        read = keep_open(policy / "scaling_cur_freq", 1e-3)
        if read:
            probes.append(Probe(f"cpu {policy.name.removeprefix('policy')}", "clock", read))
    held_back: list[tuple[Quantity, dict[str, Path]]] = [
        ("state", linux.coolers(root)),
        ("count", linux.throttle_counters(root)),
    ]
    for quantity, found in held_back:
        for name, file in found.items():
            read = keep_open(file)
            if read:
                probes.append(Probe(name, quantity, read))
    if jetson.is_jetson(root):
        probes += _jetson_probes(root)
        reasons += [] if jetson.rails(root) else ["Jetson: no INA3221 sensor can be read under /sys"]
    else:
        counters = rapl.counters(root)
        probes += [Probe(name, "energy", read, whole=True) for name, read in counters.items()]
        reasons += [] if counters else [rapl.why_none(root)]
        try:
            probes += gpu_probes(nvml.open_gpu())
        except OSError as error:
            reasons.append(str(error))
    return probes, reasons


def _jetson_probes(root: Path) -> list[Probe]:
    rails = jetson.rails(root)
    whole = jetson.whole(set(rails))
    probes = [Probe(name, "power", read, whole=name in whole) for name, read in rails.items()]
    folder = jetson.gpu_folder(root)
    read = keep_open(folder / "cur_freq", 1e-6) if folder else None
    # An idle GPU is switched off and has a clock of 0, which tells nothing.
    return probes + ([Probe("gpu", "clock", lambda: read() or None)] if read else [])


def gpu_probes(gpu: nvml.Gpu) -> list[Probe]:
    """Return what a GPU's NVML tells."""
    probes = [
        Probe("gpu", "temperature", gpu.temperature_c),
        Probe("gpu", "clock", gpu.mhz),
        Probe("gpu memory", "clock", gpu.memory_mhz),
        Probe("gpu", "bits", gpu.throttle_bits),
    ]
    # A counter misses nothing between two samples.
    if gpu.energy_j() is not None:
        probes.append(Probe("gpu", "energy", gpu.energy_j, whole=True))
    else:
        probes.append(Probe("gpu", "power", gpu.power_w, whole=True))
    return [probe for probe in probes if probe.read() is not None]
