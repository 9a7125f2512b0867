"""NVIDIA GPUs through NVML, the library behind nvidia-smi: by ctypes, without a package.

Source: NVIDIA Management Library API Reference (nvml.h). Jetson boards up to Orin have the library, and it
answers "not supported" to nearly everything there.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

_NOT_FOUND = "NVML: no libnvidia-ml.so.1, so no NVIDIA driver"
_SM, _MEMORY = 1, 2
#: Bits of nvmlDeviceGetCurrentClocksThrottleReasons that mean slower than the GPU could run otherwise.
#: Idling and clocks that were asked for are left out.
THROTTLE_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "too hot (software)",
    0x40: "too hot (hardware)",
    0x80: "power brake",
}


@dataclass(frozen=True)
class GpuInfo:
    """What does not move while a GPU works. None is what this GPU does not tell."""

    name: str | None
    driver: str | None
    cuda: str | None
    max_mhz: float | None
    power_limit_w: float | None


class Gpu:
    """One GPU. Every method returns None for what the GPU does not tell."""

    def __init__(self, library: Any, which: int | str = 0) -> None:
        """Open a GPU by its number or its UUID; raises OSError with NVML's own words if there is none."""
        self._library = library
        self._handle = ctypes.c_void_p()
        self._check(library.nvmlInit_v2())
        handle = ctypes.byref(self._handle)
        if isinstance(which, int):
            self._check(library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(which), handle))
        else:
            self._check(library.nvmlDeviceGetHandleByUUID(which.encode(), handle))

    def _check(self, code: int) -> None:
        if code:
            words = self._library.nvmlErrorString
            words.restype = ctypes.c_char_p
            raise OSError(f"NVML: {(words(code) or b'').decode(errors='replace')}")

    def info(self) -> GpuInfo:
        """Return what does not move."""
        cuda = ctypes.c_int()
        known = self._library.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda)) == 0
        limit = self._uint("EnforcedPowerLimit")
        return GpuInfo(
            self._words(self._library.nvmlDeviceGetName, self._handle),
            self._words(self._library.nvmlSystemGetDriverVersion),
            f"{cuda.value // 1000}.{cuda.value % 1000 // 10}" if known else None,
            self._uint("MaxClockInfo", _SM),
            limit / 1e3 if limit is not None else None,
        )

    def mhz(self) -> float | None:
        """Return the clock of the multiprocessors."""
        return self._uint("ClockInfo", _SM)

    def memory_mhz(self) -> float | None:
        """Return the clock of the memory."""
        return self._uint("ClockInfo", _MEMORY)

    def temperature_c(self) -> float | None:
        """Return the temperature of the chip."""
        return self._uint("Temperature", 0)

    def power_w(self) -> float | None:
        """Return the power of the whole card; the mean of the last second on Ampere and later."""
        milliwatts = self._uint("PowerUsage")
        return milliwatts / 1e3 if milliwatts is not None else None

    def energy_j(self) -> float | None:
        """Return the energy that the card has used since the driver was loaded (Volta and later)."""
        millijoules = self._value("TotalEnergyConsumption", ctypes.c_ulonglong())
        return millijoules / 1e3 if millijoules is not None else None

    def throttle_bits(self) -> float | None:
        """Return the reasons for the present clock, as bits: see THROTTLE_REASONS."""
        return self._value("CurrentClocksThrottleReasons", ctypes.c_ulonglong())

    def _uint(self, name: str, kind: int | None = None) -> float | None:
        return self._value(name, ctypes.c_uint(), kind)

    def _value(self, name: str, into: Any, kind: int | None = None) -> float | None:
        asked = () if kind is None else (ctypes.c_uint(kind),)
        try:
            code = getattr(self._library, f"nvmlDeviceGet{name}")(self._handle, *asked, ctypes.byref(into))
        except AttributeError:  # an old driver's library lacks it
            return None
        return float(into.value) if code == 0 else None

    @staticmethod
    def _words(function: Any, *arguments: Any) -> str | None:
        buffer = ctypes.create_string_buffer(96)
        code = function(*arguments, buffer, ctypes.c_uint(len(buffer)))
        return buffer.value.decode(errors="replace") if code == 0 else None


def reasons(bits: int) -> list[str]:
    """Return why a GPU ran slower than it could, of the bits of `Gpu.throttle_bits`."""
    return [words for bit, words in THROTTLE_REASONS.items() if bits & bit]


def open_gpu() -> Gpu:
    """Return the GPU that CUDA programs see first; raises OSError with the reason where there is none.

    With several GPUs that is the first one in CUDA_VISIBLE_DEVICES, a number or a UUID, else number 0.
    """
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        raise OSError(_NOT_FOUND) from error
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0]
    return Gpu(library, int(first) if first.isdigit() else first or 0)
