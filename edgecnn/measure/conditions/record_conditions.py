"""The conditions of a measurement: without them a number cannot be compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from edgecnn.backends import BACKENDS
from edgecnn.errors import MissingPackageError
from edgecnn.measure.conditions.machine import Machine, Snapshot
from edgecnn.measure.conditions.sampler import Sampler, Summary
from edgecnn.runtime.compatibility import library_version
from edgecnn.runtime.engine import Engine

#: Relative difference of mean clocks, and cores' worth of other programs, above which two results are unlike.
CLOCK_TOLERANCE, LOAD_TOLERANCE = 0.05, 0.25
#: The note of every time that was taken where a program imitates the processor.
EMULATED = "this machine is emulated: its times say nothing of a board"
#: What somebody chose, or a machine has, with the words for people: comparable results agree in it. The other
#: conditions (load, clocks, temperatures) are what the moment was like.
SETTINGS = {
    "machine": "architecture",
    "system": "kernel",
    "board": "board",
    "release": "release",
    "cpu": "CPU",
    "cores": "cores",
    "affinity": "affinity",
    "cpu_quota": "CPU quota",
    "governor": "governor",
    "cpu_limits_mhz": "CPU clock limits",
    "gpu": "GPU",
    "driver": "GPU driver",
    "cuda": "CUDA",
    "gpu_limits_mhz": "GPU clock limits",
    "gpu_power_limit_w": "GPU power limit",
    "power_mode": "power mode",
    "power_supply": "power supply",
    "backend": "backend",
    "device": "device",
    "threads": "threads",
    "batch": "batch",
    "input": "input",
    "transfers": "transfers",
    "cuda_graph": "CUDA graph",
}


@dataclass(frozen=True)
class Conditions:
    """Everything that may change a result: the machine, the engine, and what moved while it ran."""

    machine: Machine
    backend: str
    device: str
    threads: int
    batch: int
    #: Whether a CUDA graph launched each inference; None where there is no such thing.
    cuda_graph: bool | None
    before: Snapshot
    after: Snapshot
    during: Summary
    #: What the engine was given.
    input: str = "real photograph"

    @classmethod
    def of(
        cls, engine: Engine, batch: int, machine: Machine, before: Snapshot, after: Snapshot, during: Summary
    ) -> Conditions:
        """Return the conditions of one engine's measurement."""
        try:
            version = library_version(BACKENDS.get(engine.backend))
        except MissingPackageError:  # built from source
            version = "unknown version"
        backend = f"{engine.backend} {version}"
        graph = engine.launches_graph
        return cls(machine, backend, engine.device, engine.threads, batch, graph, before, after, during)

    @property
    def other_cores_busy(self) -> float | None:
        """Mean number of cores that other programs kept busy from before to after."""
        first, last, seconds = self.before.cpu_time, self.after.cpu_time, self.after.time - self.before.time
        if first is None or last is None or seconds <= 0:
            return None
        return max(0.0, (last.busy - first.busy) - (last.own - first.own)) / seconds

    @property
    def stolen_cores(self) -> float | None:
        """Mean number of cores that the host of this virtual machine gave to others from before to after."""
        first, last, seconds = self.before.cpu_time, self.after.cpu_time, self.after.time - self.before.time
        return (last.stolen - first.stolen) / seconds if first and last and seconds > 0 else None

    def notes(self, name: str) -> list[str]:
        """Return what in these conditions makes the figures of `name` worse than the machine can do."""
        notes = []
        if self.machine.emulated:
            notes.append(EMULATED)
        if self.during.throttled:
            notes.append(f"{name} was throttled while it was measured: {', '.join(self.during.throttled)}")
        if (self.other_cores_busy or 0.0) > LOAD_TOLERANCE:
            notes.append(f"other programs kept {self.other_cores_busy:.1f} cores busy in the meantime")
        if self.machine.power_supply == "battery":
            notes.append("the machine runs on its battery, which may slow it down")
        return notes

    def to_json(self) -> dict[str, Any]:
        """Return the conditions as they stand in a result."""
        busy, stolen = self.other_cores_busy, self.stolen_cores
        return {
            **dataclasses.asdict(self.machine),
            "backend": self.backend,
            "device": self.device,
            "threads": self.threads or "library's choice",
            "batch": self.batch,
            "input": self.input,
            "transfers": "included",
            "cuda_graph": self.cuda_graph,
            "load": self.before.load,
            "other_cores_busy": None if busy is None else round(busy, 2),
            "stolen_cores": None if stolen is None else round(stolen, 2),
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "during": self.during.to_json(),
        }


class Watch:
    """Watches the machine from entering it to leaving it; what was measured meanwhile gets its conditions."""

    def __init__(self) -> None:
        self._sampler = Sampler()

    def __enter__(self) -> Watch:
        self._machine, self._before = Machine.read(), Snapshot.read()
        self._sampler.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sampler.__exit__(kind, error, trace)
        self._after = Snapshot.read()

    def conditions(
        self, engine: Engine, batch: int, spans: Sequence[tuple[float, float]] | None = None
    ) -> Conditions:
        """Return the conditions of one engine, which worked within `spans`, or all the time."""
        during = self._sampler.summary(spans)
        return Conditions.of(engine, batch, self._machine, self._before, self._after, during)


def differences(a: Mapping[str, Any], b: Mapping[str, Any], *, ignore: Collection[str] = ()) -> list[str]:
    """Return what makes two results unlike, one line each; `a` and `b` are of `Conditions.to_json`.

    `ignore` names conditions that are meant to differ: "backend" to compare engines, "batch" to compare
    batches. Besides the keys of a result it may name "clock", "load", "throttled" and "emulated".
    """
    found = [
        f"{words}: {_shown(a.get(key))} and {_shown(b.get(key))}"
        for key, words in SETTINGS.items()
        if key not in ignore and a.get(key) != b.get(key)
    ]
    if "clock" not in ignore:
        first, last = _clock(a), _clock(b)
        if first and last and abs(first - last) > CLOCK_TOLERANCE * max(first, last):
            found.append(f"mean clock: {first:.0f} and {last:.0f} MHz")
    if "load" not in ignore:
        busy, other = a.get("other_cores_busy") or 0.0, b.get("other_cores_busy") or 0.0
        if abs(busy - other) > LOAD_TOLERANCE:
            found.append(f"other programs: {busy:.1f} and {other:.1f} cores busy")
    if "throttled" not in ignore:
        for name, conditions in (("first", a), ("second", b)):
            reasons = (conditions.get("during") or {}).get("throttled")
            if reasons:
                found.append(f"the {name} was throttled: {', '.join(reasons)}")
    if "emulated" not in ignore and bool(a.get("emulated")) != bool(b.get("emulated")):
        found.append(f"the {'first' if a.get('emulated') else 'second'} was measured on an emulated machine")
    return found


def _clock(conditions: Mapping[str, Any]) -> float | None:
    """Return the mean clock of what computed: the GPU, or the fastest cores (the others were idle)."""
    clocks = (conditions.get("during") or {}).get("clock_mean_mhz") or {}
    part = "cpu " if conditions.get("device") == "cpu" else "gpu"
    return max(
        (mhz for name, mhz in clocks.items() if name.startswith(part) and name != "gpu memory"), default=None
    )


def _shown(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return " to ".join(_shown(item) for item in value) if isinstance(value, list) else str(value)
