"""The conditions of a measurement: without them a number cannot be compared."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from edgecnn.errors import MissingPackageError
from edgecnn.runtime.backends import BACKENDS
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.fit import library_version

_CPUINFO_NAMES = ("model name", "Model", "Hardware")


def conditions(engine: Engine, batch: int) -> dict[str, Any]:
    """Return what may change a result: machine, processor, clocks, load, library, threads, input."""
    return {
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "unknown",
        "load": round(os.getloadavg()[0], 2),
        "backend": f"{engine.backend} {_version(engine.backend)}",
        "device": engine.device,
        "threads": engine.threads or "library's choice",
        "batch": batch,
        "input": "real photograph",
        "transfers": "included",
    }


def cpu_model() -> str:
    """Return the processor's name as the kernel has it."""
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in _CPUINFO_NAMES:
            return value.strip()
    return platform.processor() or "unknown"


def _version(backend: str) -> str:
    try:
        return library_version(BACKENDS.get(backend))
    except MissingPackageError:
        return "unknown"


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None
