"""MLPerf's LoadGen as the driver: its scenarios, its rules for what is valid, and its logs.

Reddi et al. 2020, "MLPerf Inference Benchmark", section 4, defines the scenarios. The engine is the system
under test; crops of a real photograph, prepared beforehand, are the query sample library.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn import files
from edgecnn.errors import EngineError, InvalidValueError, OutputError
from edgecnn.measure.conditions.record_conditions import EMULATED, Conditions, Watch
from edgecnn.measure.input_choice import PHOTOGRAPHS, InputChoice
from edgecnn.measure.latency.mlperf_system import QueuedSystem, System
from edgecnn.measure.latency.profile_engines import warm_up
from edgecnn.measure.real_inputs import real_samples
from edgecnn.optional_packages import require
from edgecnn.progress import Progress, silent
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.samples import unpack

#: Name here: name of LoadGen.
SCENARIOS = {
    "single-stream": "SingleStream",
    "multi-stream": "MultiStream",
    "offline": "Offline",
    "server": "Server",
}
#: Latency in milliseconds that a server keeps for 99 % of its queries: of ResNet-50 in MLPerf Inference.
SERVER_LATENCY_MS = 15.0
#: Images in the library; all are prepared and stay in memory.
_SAMPLES = 64
#: Images of one query of the multi-stream scenario, as in MLPerf.
_STREAMS = 8
#: Fewest queries from which LoadGen's early stopping can tell a percentile: the 90th, and the 99th.
_LEAST_QUERIES = {"single-stream": 64, "multi-stream": 662, "offline": 1, "server": 662}
#: A duration is satisfied even if the engine is this much faster than it was while warming up.
_HEADROOM = 1.2
#: The search for a server's rate ends when it is known within this share.
_RATE_KNOWN = 0.05
_PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
#: MLPerf's least duration, in seconds. Shorter runs are good measurements and no submissions.
_OFFICIAL_SECONDS = 600
_DETAIL = "mlperf_log_detail.txt"
#: Every file that LoadGen writes in a run.
_LOGS = ("mlperf_log_summary.txt", _DETAIL, "mlperf_log_accuracy.json", "mlperf_log_trace.json")
#: Halving ends well before so many rates were tried.
_MOST_RATES = 20


@dataclass(frozen=True)
class Trial:
    """One rate of queries that was tried for a server."""

    qps: float
    valid: bool
    p99_ms: float


@dataclass(frozen=True)
class ScenarioResult:
    """What LoadGen says of an engine in one scenario."""

    engine: Engine
    scenario: str
    #: Most images of one inference.
    batch: int
    seconds: float
    #: Where LoadGen's own logs are.
    log_folder: Path
    #: Every result that LoadGen logged, by its own key without "result_".
    logged: dict[str, Any]
    conditions: Conditions
    #: Rate in queries per second, and the latency that 99 % of them must keep: of a server.
    qps: float | None = None
    latency_bound_ms: float | None = None
    trials: list[Trial] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        """Whether LoadGen calls the run valid: long enough, and within the bound."""
        return bool(self.logged["validity"] == "VALID")

    @property
    def latency_ms(self) -> dict[str, float] | None:
        """Percentiles of a query, in milliseconds; None offline, where all queries are one."""
        if self.scenario == "offline":
            return None
        named = {f"p{float(p):g}": f"{p}_percentile_latency_ns" for p in _PERCENTILES}
        named |= {key: f"{key}_latency_ns" for key in ("mean", "min", "max")}
        return {key: self._query_ns(name) / 1e6 for key, name in named.items()}

    @property
    def throughput_ips(self) -> float:
        """Images per second."""
        if self.scenario == "offline":
            return float(self.logged["samples_per_second"])
        if self.scenario == "server":
            return float(self.logged["completed_samples_per_sec"])
        # One query at a time: what lies between two is LoadGen's.
        return (_STREAMS if self.scenario == "multi-stream" else 1) / (
            self._query_ns("mean_latency_ns") / 1e9
        )

    def _query_ns(self, name: str) -> float:
        """Return a latency of whole queries; of many samples each, LoadGen logs both under two names."""
        moment = name.replace("_latency", "_query_latency")
        return float(self.logged.get(moment, self.logged.get(name, 0.0)))

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures should know."""
        found = []
        if not self.valid:
            reason = self.logged.get("invalid_reason") or self.logged.get("early_stopping") or "too short"
            found.append(f"LoadGen calls this run invalid: {' '.join(reason.split())}")
        if self.seconds < _OFFICIAL_SECONDS:
            found.append(f"no MLPerf submission: its rules ask for {_OFFICIAL_SECONDS} s and a data set")
        return found + ([EMULATED] if self.conditions.machine.emulated else [])

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses, and LoadGen's own."""
        return {
            "path": str(self.engine.path),
            "sha256": files.sha256(self.engine.path),
            "backend": self.engine.backend,
            "scenario": self.scenario,
            "batch": self.batch,
            "valid": self.valid,
            "latency_ms": self.latency_ms,
            "throughput_ips": self.throughput_ips,
            "qps": self.qps,
            "latency_bound_ms": self.latency_bound_ms,
            "trials": [vars(trial) for trial in self.trials],
            "n": self.logged["query_count"],
            "loadgen": self.logged,
            "log_folder": str(self.log_folder),
            "conditions": self.conditions.to_json(),
            "notes": self.notes,
        }


def run_scenario(
    engine: Engine,
    scenario: str,
    log_folder: Path,
    *,
    batch: int | None = None,
    seconds: float = 10.0,
    qps: float | None = None,
    latency_ms: float = SERVER_LATENCY_MS,
    progress: Progress = silent,
    choice: InputChoice = PHOTOGRAPHS,
) -> ScenarioResult:
    """Measure an engine in a scenario for at least `seconds`, with LoadGen's logs in `log_folder`.

    single-stream sends one image after another, multi-stream eight at a time, offline all at once, and
    server at random moments, `qps` per second. Without `qps` the highest rate is searched at which 99 % of
    the queries are answered within `latency_ms`. An inference takes at most `batch` images: without it 1,
    or 8 of multi-stream, or what the model takes.

    Raises MissingPackageError without LoadGen, InvalidValueError if `batch` is not the fixed batch of a
    model, EngineError if the engine fails or no rate is within the bound.
    """
    if scenario not in SCENARIOS:
        raise InvalidValueError(f"no such scenario: {scenario!r}", hint=", ".join(SCENARIOS))
    if qps is not None and scenario != "server":
        raise InvalidValueError(f"{scenario} has no rate of its own", hint="`qps` is for `scenario` server")
    loadgen = require("mlperf_loadgen", f"the {scenario} scenario")
    fixed = engine.input.shape[0]
    usual = _STREAMS if scenario == "multi-stream" else 1
    size = batch or (fixed if isinstance(fixed, int) else usual)
    data = real_samples(engine, max(_SAMPLES, size), batch, choice)
    progress("warm up")
    warm_up(engine, unpack(data[:size], engine.inputs))
    rate = _rate(engine, data, size)
    run = _Run(loadgen, engine, data, size, scenario, seconds, rate, latency_ms)
    trials: list[Trial] = []
    if scenario == "server" and qps is None:
        qps = _search(run, log_folder, trials, progress)
    progress(f"LoadGen: {scenario}")
    with Watch() as watch:
        logged = run(log_folder, qps)
    found = watch.conditions(engine, size)
    bound = latency_ms if scenario == "server" else None
    return ScenarioResult(engine, scenario, size, seconds, log_folder, logged, found, qps, bound, trials)


def _rate(engine: Engine, data: npt.NDArray[Any], size: int) -> float:
    """Return about how many images per second an engine manages, `size` at a time."""
    inputs = unpack(data[:size], engine.inputs)
    samples = []
    for _ in range(10):
        start = time.perf_counter()
        engine.run(inputs)
        samples.append(time.perf_counter() - start)
    return size / float(np.median(samples))


def log_files(folder: Path) -> list[Path]:
    """Return every file that a scenario may write, with its logs in `folder`."""
    runs = [folder, *(_search_folder(folder, number) for number in range(1, _MOST_RATES + 1))]
    return [run / name for run in runs for name in _LOGS]


def _search_folder(folder: Path, number: int) -> Path:
    return folder / "search" / str(number)


def _search(run: _Run, log_folder: Path, trials: list[Trial], progress: Progress) -> float:
    """Return the highest rate that LoadGen calls valid, by bisection below what the engine manages at all."""
    low, high = 0.0, run.rate
    while high - low > _RATE_KNOWN * high:
        rate = (low + high) / 2
        if rate < _RATE_KNOWN * run.rate:
            raise EngineError(
                f"{run.engine.path.name} answers within {run.latency_ms:g} ms at no rate",
                hint="allow more with `latency_bound`, or use single-stream",
            )
        progress(f"LoadGen: server at {rate:.0f} queries per second")
        logged = run(_search_folder(log_folder, len(trials) + 1), rate)
        valid = logged["validity"] == "VALID"
        trials.append(Trial(rate, valid, logged["99.00_percentile_latency_ns"] / 1e6))
        low, high = (rate, high) if valid else (low, rate)
    return low


@dataclass(frozen=True)
class _Run:
    """Everything that stays the same between runs of LoadGen."""

    loadgen: Any
    engine: Engine
    data: npt.NDArray[Any]
    batch: int
    scenario: str
    seconds: float
    #: Images per second that the engine manages.
    rate: float
    latency_ms: float

    def __call__(self, log_folder: Path, qps: float | None) -> dict[str, Any]:
        """Run LoadGen once, and return what it logged; raises what the engine raised."""
        try:
            log_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot write {log_folder}: {error.strerror}", hint="choose another folder with `log_dir`"
            ) from error
        lg = self.loadgen
        kind = QueuedSystem if self.scenario == "server" else System
        system = kind(lg, self.engine, self.data, self.batch)
        # Samples are prepared and in memory already: there is nothing to load.
        library = lg.ConstructQSL(len(self.data), len(self.data), lambda rows: None, lambda rows: None)
        handle = lg.ConstructSUT(system.issue, lambda: None)
        logs = lg.LogSettings()
        logs.enable_trace = False
        logs.log_output.outdir = str(log_folder)
        logs.log_output.copy_summary_to_stdout = False
        try:
            lg.StartTestWithLogSettings(handle, library, self._settings(qps), logs)
        finally:
            system.close()
            lg.DestroySUT(handle)
            lg.DestroyQSL(library)
        if system.failure is not None:
            raise system.failure
        return results(log_folder)

    def _settings(self, qps: float | None) -> Any:
        lg, settings = self.loadgen, self.loadgen.TestSettings()
        settings.scenario = getattr(lg.TestScenario, SCENARIOS[self.scenario])
        settings.mode = lg.TestMode.PerformanceOnly
        settings.min_duration_ms = round(self.seconds * 1e3)
        settings.min_query_count = _LEAST_QUERIES[self.scenario]
        # How many queries LoadGen prepares follows from these; too few would end the run early.
        expected = self.rate * _HEADROOM
        settings.single_stream_expected_latency_ns = round(1e9 / expected)
        settings.multi_stream_expected_latency_ns = round(_STREAMS * 1e9 / expected)
        settings.multi_stream_samples_per_query = _STREAMS
        settings.offline_expected_qps = expected
        if qps is not None:
            settings.server_target_qps = qps
            settings.server_target_latency_ns = round(self.latency_ms * 1e6)
        return settings


def results(log_folder: Path) -> dict[str, Any]:
    """Return what LoadGen logged of a run: each result by its key without "result_", and its version."""
    found: dict[str, Any] = {}
    for line in (log_folder / _DETAIL).read_text(errors="replace").splitlines():
        _, _, text = line.partition(":::MLLOG ")
        if not text:
            continue
        entry = json.loads(text)
        key = entry["key"]
        if key.startswith("result_"):
            found[key.removeprefix("result_")] = entry["value"]
        elif key == "early_stopping_result":
            found["early_stopping"] = " ".join(entry["value"].split())
        elif key == "loadgen_version":
            found["version"] = entry["value"]
    if "validity" not in found:
        raise EngineError(f"LoadGen wrote no result into {log_folder}", hint="its logs there say why")
    return found
