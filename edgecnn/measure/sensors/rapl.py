"""Energy counters of Intel and AMD processors (RAPL), through /sys/class/powercap.

Source: Linux, Documentation/power/powercap/powercap.rst. Since 2020 only root may read them (CVE-2020-8694).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgecnn.measure.sensors.kernel_files import keep_open, number, text, why_not


def zones(root: Path = Path("/")) -> dict[str, Path]:
    """Return the folders of the packages ("package-0") and of memory beside them ("package-0 dram").

    Zones inside a package are parts of it and left out, but for memory, which is not.
    """
    found = {}
    for package in sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*")):
        name = text(package / "name") or package.name
        if ":" not in package.name.removeprefix("intel-rapl:") and name.startswith("package"):
            found[name] = package
            for part in sorted((root / "sys/class/powercap").glob(f"{package.name}:[0-9]*")):
                if text(part / "name") == "dram":
                    found[f"{name} dram"] = part
    return found


def counters(root: Path = Path("/")) -> dict[str, Callable[[], float | None]]:
    """Return what reads the energy that each zone has used since some moment, in J, by the zone's name."""
    found = {}
    for name, folder in zones(root).items():
        counter = keep_open(folder / "energy_uj", 1e-6)
        if counter is not None:
            found[name] = unwrapped(counter, (number(folder / "max_energy_range_uj") or 0.0) * 1e-6)
    return found


def unwrapped(counter: Callable[[], float | None], span: float) -> Callable[[], float | None]:
    """Return a counter that goes on where `counter` begins anew at 0 after `span`.

    It has to be read at least once in each round: a minute at full load on large servers.
    """
    last, rounds = 0.0, 0

    def read() -> float | None:
        nonlocal last, rounds
        now = counter()
        if now is None:
            return None
        rounds += now < last
        last = now
        return rounds * span + now

    return read


def why_none(root: Path = Path("/")) -> str:
    """Return why `counters` is empty, for people."""
    for folder in zones(root).values():
        return f"RAPL: {why_not(folder / 'energy_uj')} ({folder / 'energy_uj'})"
    return "RAPL: this kernel shows none"
