"""Build what this machine can run, check it, measure all in turns, keep the fastest that agrees."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import files
from edgecnn.backends import BACKENDS, Backend, for_other_gpus
from edgecnn.compile.build_engine import Compiled, build_into, engine_path, keep, open_source
from edgecnn.compile.builders import Source
from edgecnn.compile.compile_request import GENERAL, CompileRequest
from edgecnn.errors import EdgecnnError, EngineError, InvalidValueError, OutputError
from edgecnn.leftovers import TemporaryFolder
from edgecnn.measure.latency.profile_engines import Latency, profile
from edgecnn.progress import Progress, silent
from edgecnn.record import Record
from edgecnn.runtime import cuda, load

#: Seconds of measuring for each engine.
_SECONDS = 3.0


@dataclass(frozen=True)
class Trial:
    """One backend: what was built and measured, or why not."""

    backend: Backend
    compiled: Compiled | None = None
    latency: Latency | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a row of the table."""
        return {
            "backend": self.backend.name,
            "bytes": self.compiled.bytes if self.compiled else None,
            "parity": self.compiled.parity.to_json() if self.compiled and self.compiled.parity else None,
            "latency_ms": self.latency.milliseconds if self.latency else None,
            "throughput_ips": self.latency.throughput_ips if self.latency else None,
            "notes": self.latency.notes if self.latency else [],
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class Tried(Record):
    """All trials, and the engine that was written."""

    kept: Compiled
    trials: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the engine's keys, and the trials."""
        return {**self.kept.to_json(), "tried": [trial.to_json() for trial in self.trials]}


def compile_fastest(request: CompileRequest, progress: Progress = silent) -> Tried:
    """Compile for every backend that runs on this machine, and write the fastest engine.

    The suffix of the output is the winner's. Raises EngineError if none can be built, InvalidValueError for a
    request of an engine that another GPU runs, and as `open_source`.
    """
    if request.capabilities not in ((), _capability_here()):
        raise InvalidValueError(
            "auto keeps what is fastest on this machine; `target` and `sm` ask for an engine of another",
            hint=f"{for_other_gpus()} for a desktop GPU, --on NAME for a board",
        )
    source = open_source(request)
    output = request.output or request.source
    for backend in BACKENDS:
        files.check_writable(engine_path(output, backend))
    trials: list[Trial] = []
    with TemporaryFolder() as folder, contextlib.ExitStack() as stack:
        for backend in BACKENDS:
            place = Path(folder) / backend.name
            place.mkdir()
            trials.append(_build(backend, request, source, place / output.name, progress))
        running = [trial for trial in trials if trial.compiled is not None and not trial.reason]
        if not running:
            reasons = "; ".join(f"{trial.backend.title}: {trial.reason}" for trial in trials)
            raise EngineError(f"no backend can compile {request.source}: {reasons}", hint="edgecnn doctor")
        engines = [
            stack.enter_context(load(trial.compiled.path, threads=request.threads))
            for trial in running
            if trial.compiled is not None
        ]
        batch = request.batch.best if request.batch else None
        measured = profile(engines, batch=batch, seconds=_SECONDS, progress=progress)
        timed = [
            dataclasses.replace(trial, latency=latency)
            for trial, latency in zip(running, measured, strict=True)
        ]
        best = min(timed, key=lambda trial: float(np.median(trial.latency.samples)) if trial.latency else 0)
        if best.compiled is None:
            raise ValueError("what was measured was built")
        kept = keep(best.compiled, engine_path(output, best.backend))
    by_name = {trial.backend.name: trial for trial in timed}
    return Tried(kept, tuple(by_name.get(trial.backend.name, trial) for trial in trials))


def _capability_here() -> tuple[str, ...]:
    try:
        return (cuda.Device().compute_capability,)
    except EngineError:
        return ()


def _build(
    backend: Backend, request: CompileRequest, source: Source, path: Path, progress: Progress
) -> Trial:
    """Build and check one engine; what cannot be done becomes the reason."""
    # Options of one library say nothing to the others; those that say something must be known.
    known = backend.options
    foreign: dict[str, Any] = {
        name: field.default
        for name, field in CompileRequest.__dataclass_fields__.items()
        if name not in known | GENERAL | {"batch", "bf16"}
    }
    if "sm" not in known and request.capabilities:
        foreign["target"] = None  # the name of this machine's GPU, which such a backend does not use
    asked = dataclasses.replace(request, backend=backend.name, output=None, **foreign)
    try:
        compiled = build_into(asked, source, engine_path(path, backend), progress)
    except OutputError:
        raise  # the next one would have no room either
    except EdgecnnError as error:
        return Trial(backend, reason=str(error))
    return Trial(backend, compiled, reason="" if compiled.parity else "no device here runs it")
