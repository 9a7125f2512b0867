"""What happens to a machine while it is measured: power, energy, temperature, clocks, throttling."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.measure.conditions.probes import Probe, Quantity, find_probes
from edgecnn.measure.sensors import nvml

#: Seconds between two samples. Boards renew their power sensors every few milliseconds to 100 ms.
INTERVAL = 0.1


@dataclass(frozen=True)
class Summary:
    """What a `Sampler` saw, over the spans that were asked for. Names are those of the sensors.

    `energy_j` and `power_w` are by sensor. `joules` and `watts` are the sums of the sensors in `whole`,
    which together are the machine, or as much of it as it can measure: the module of a Jetson board, the
    packages of a CPU and the card of a GPU. All are empty or None where there is no sensor, and
    `why_no_power` says why.
    """

    seconds: float
    samples: int
    energy_j: dict[str, float] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    temperature_max_c: dict[str, float] = field(default_factory=dict)
    clock_min_mhz: dict[str, float] = field(default_factory=dict)
    clock_mean_mhz: dict[str, float] = field(default_factory=dict)
    throttled: tuple[str, ...] = ()
    why_no_power: tuple[str, ...] = ()

    @property
    def power_w(self) -> dict[str, float]:
        """Mean power by sensor."""
        return {name: joules / self.seconds for name, joules in self.energy_j.items()} if self.seconds else {}

    @property
    def joules(self) -> float | None:
        """Energy of the machine."""
        return sum(self.energy_j[name] for name in self.whole) if self.whole else None

    @property
    def watts(self) -> float | None:
        """Mean power of the machine."""
        return self.joules / self.seconds if self.joules is not None and self.seconds else None

    def to_json(self) -> dict[str, Any]:
        """Return the keys of `during` in the conditions of a result."""
        return {
            "seconds": self.seconds,
            "samples": self.samples,
            "watts": self.watts,
            "joules": self.joules,
            "power_of": list(self.whole),
            "power_w": self.power_w,
            "why_no_power": list(self.why_no_power),
            "temperature_max_c": self.temperature_max_c,
            "clock_min_mhz": self.clock_min_mhz,
            "clock_mean_mhz": self.clock_mean_mhz,
            "throttled": list(self.throttled),
        }


class Sampler:
    """Reads all sensors every 100 ms in a thread of its own, from entering it to leaving it.

    One Sampler may watch several things that take turns: `summary(spans)` tells them apart.
    """

    def __init__(
        self,
        probes: Sequence[Probe] | None = None,
        *,
        why_no_power: Sequence[str] = (),
        interval: float = INTERVAL,
    ) -> None:
        """Watch `probes`, or else whatever this machine has."""
        if probes is None:
            probes, why_no_power = find_probes()
        self._probes, self._why_no_power, self._interval = tuple(probes), tuple(why_no_power), interval
        self._times: list[float] = []
        self._rows: list[list[float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._sample()

    def _sample(self) -> None:
        start = time.perf_counter()
        row = [np.nan if (value := probe.read()) is None else value for probe in self._probes]
        self._times.append((start + time.perf_counter()) / 2)
        self._rows.append(row)

    def summary(self, spans: Sequence[tuple[float, float]] | None = None) -> Summary:
        """Return what was seen within `spans`, (start, end) by time.perf_counter; without them, all.

        Energy between two samples is shared out by time, so a span may be shorter than the interval. Call it
        after leaving the Sampler.
        """
        times, rows = np.array(self._times), np.array(self._rows).reshape(len(self._times), len(self._probes))
        spans = [(float(times[0]), float(times[-1]))] if spans is None else list(spans)
        inside = _inside(times, spans, self._interval)
        energy: dict[str, float] = {}
        hottest: dict[str, float] = {}
        lowest: dict[str, float] = {}
        mean: dict[str, float] = {}
        throttled: list[str] = []
        for probe, column in zip(self._probes, rows.T, strict=True):
            good = ~np.isnan(column)
            seen = column[good & inside]
            if not len(seen):
                continue
            if probe.quantity in ("power", "energy"):
                joules = _energy(times[good], column[good], probe.quantity, spans)
                if joules is not None:
                    energy[probe.name] = joules
            elif probe.quantity == "temperature":
                hottest[probe.name] = float(seen.max())
            elif probe.quantity == "clock":
                lowest[probe.name], mean[probe.name] = float(seen.min()), float(seen.mean())
            elif probe.quantity == "bits":
                bits = np.bitwise_or.reduce(seen.astype(np.int64))
                throttled += [f"{probe.name}: {reason}" for reason in nvml.reasons(int(bits))]
            elif (seen.max() > 0) if probe.quantity == "state" else (seen[-1] > seen[0]):
                throttled.append(probe.name)
        return Summary(
            seconds=sum(end - start for start, end in spans),
            samples=int(inside.sum()),
            energy_j=energy,
            whole=tuple(probe.name for probe in self._probes if probe.whole and probe.name in energy),
            temperature_max_c=hottest,
            clock_min_mhz=lowest,
            clock_mean_mhz=mean,
            throttled=tuple(throttled),
            why_no_power=() if energy else self._why_no_power,
        )


def _inside(
    times: npt.NDArray[np.float64], spans: Sequence[tuple[float, float]], slack: float
) -> npt.NDArray[np.bool_]:
    # The last sample before a span and the first one after it still tell of it.
    inside = np.zeros(len(times), bool)
    for start, end in spans:
        inside |= (times >= start - slack) & (times <= end + slack)
    return inside


def _energy(
    times: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    quantity: Quantity,
    spans: Sequence[tuple[float, float]],
) -> float | None:
    if len(times) < 2:
        return None
    if quantity == "power":  # trapezoids
        steps = (values[1:] + values[:-1]) / 2 * np.diff(times)
        values = np.concatenate([[0.0], np.cumsum(steps)])
    return float(sum(np.interp(end, times, values) - np.interp(start, times, values) for start, end in spans))
