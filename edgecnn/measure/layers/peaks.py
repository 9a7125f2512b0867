"""How fast a machine can be at best: measured here and kept, or read from the table of targets."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import files, operating_system
from edgecnn.backends import BACKENDS, ONNXRUNTIME, Backend, attribute
from edgecnn.errors import OutputError
from edgecnn.measure.sensors.linux import cpu_model
from edgecnn.optional_packages import require
from edgecnn.progress import Progress, silent
from edgecnn.runtime.compatibility import library_version
from edgecnn.runtime.engine import Engine
from edgecnn.targets import TARGETS

#: ONNX files that multiply a float matrix (m, 1024) by a constant one, in float32 and in the int8 of the
#: cpu scheme: kept as bytes, since a board has no onnx package to make them with.
_SIDE = 1024
_FLOAT32 = base64.b64decode(
    "CAcSADqHAQoyCgFzEgF3Ig9Db25zdGFudE9mU2hhcGUqGQoFdmFsdWUqDQgBEAEiBArXIzxCAXagAQQKEQoBeAoBdxIBeSIG"
    "TWF0TXVsEgFnKg0IAhAHOgSACIAIQgFzWhUKAXgSEAoOCAESCgoDEgFtCgMSAWtiFQoBeRIQCg4IARIKCgMSAW0KAxIBbkIE"
    "CgAQDQ=="
)
_INT8 = base64.b64decode(
    "CAcSADriAgodCgF4CgFhCgJ6eBIBcSIOUXVhbnRpemVMaW5lYXIKHwoBcQoBYQoCengSAWQiEERlcXVhbnRpemVMaW5lYXIK"
    "LwoBcxIBdyIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARADKgEDQgF2oAEECh8KAXcKAWIKAnp3EgFlIhBEZXF1YW50"
    "aXplTGluZWFyChEKAWQKAWUSAXoiBk1hdE11bAodCgF6CgFjCgJ6eBIBciIOUXVhbnRpemVMaW5lYXIKHwoBcgoBYwoCengS"
    "AXkiEERlcXVhbnRpemVMaW5lYXISAWcqDQgCEAc6BIAIgAhCAXMqCxABIgQK1yM8QgFhKgsQASIECtcjPEIBYioLEAEiBM3M"
    "zD1CAWMqCRACKgEAQgJ6eCoJEAMqAQBCAnp3WhUKAXgSEAoOCAESCgoDEgFtCgMSAWtiFQoBeRIQCg4IARIKCgMSAW0KAxIB"
    "bkIECgAQDQ=="
)
#: A peak is the best of so many seconds: whatever disturbs a run only slows it.
_SECONDS = 1.0
#: Arrays that are copied are so many times as large as the last cache, as STREAM's rules ask.
_CACHES = 4
_LEAST_BYTES = 64 << 20
_CACHE_SIZES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Peaks:
    """The limits of a machine: 10^9 operations per second, of which a multiply-add is two, and 10^9 bytes."""

    float32_gflops: float | None
    float16_gflops: float | None
    int8_gops: float | None
    bandwidth_gbs: float
    #: Where they are from.
    source: str

    def operations(self, precision: str) -> float | None:
        """Return the rate at a precision of the manifest's; None if it is not known."""
        rates = {"float32": self.float32_gflops, "float16": self.float16_gflops, "int8": self.int8_gops}
        return rates[precision]


def measure(progress: Progress = silent) -> dict[int, Peaks]:
    """Measure this machine's peaks with one thread and with all cores, and keep them for later.

    Arithmetic is what the installed engine libraries reach on a large matrix product, the better of them;
    bandwidth is what a copy of large arrays moves (McCalpin 1995, STREAM). Raises MissingPackageError if no
    engine library for the CPU is installed, OutputError if the result cannot be kept.
    """
    cores = len(operating_system.cores())
    today = datetime.date.today().isoformat()
    found = {}
    for threads in sorted({1, cores}):
        rates = {}
        for name, model in (("float32", _FLOAT32), ("int8", _INT8)):
            progress(f"{name} with {threads} of {cores} cores")
            rates[name] = max(_rate(run) for run in _products(model, threads))
        progress(f"memory with {threads} of {cores} cores")
        # Float16 files are computed in float32 on a CPU.
        found[threads] = Peaks(
            rates["float32"], rates["float32"], rates["int8"], _bandwidth(threads), f"measured {today}"
        )
    versions = {row.name: library_version(row) for row in _multiplying()}
    record = {
        "cpu": cpu_model(),
        "cores": cores,
        "measured": today,
        "versions": versions,
        "peaks": {str(threads): asdict(peaks) for threads, peaks in found.items()},
    }
    path = kept_in()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", hint="set XDG_CACHE_HOME") from error
    files.write_atomic(path, json.dumps(record, indent=1).encode())
    return found


def kept_in() -> Path:
    """Return where the measured peaks of this machine are kept: `$XDG_CACHE_HOME/edgecnn/peaks.json`."""
    return files.cache_folder() / "peaks.json"


def known(engine: Engine) -> Peaks | None:
    """Return the limits of what an engine runs on, with its number of threads; None if they are not known.

    Of a CPU they must have been measured on this processor with as many cores; of a GPU they are the target's
    that the file was made for.
    """
    if engine.device != "cpu":
        return _of_target(engine.manifest.target if engine.manifest else None)
    cores = len(operating_system.cores())
    try:
        record = json.loads(kept_in().read_text())
        if (record["cpu"], record["cores"]) != (cpu_model(), cores):
            return None
        measured = {int(threads): Peaks(**values) for threads, values in record["peaks"].items()}
        return _with_threads(measured, min(engine.threads or cores, cores))
    except (OSError, OutputError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # nothing was measured yet, or by a version that kept it differently


def _with_threads(measured: dict[int, Peaks], threads: int) -> Peaks:
    """Return the peaks of some of the cores: so many times one core's, but no more than all have."""
    if threads in measured:
        return measured[threads]
    one, every = asdict(measured[1]), asdict(measured[max(measured)])
    scaled = {key: min(threads * one[key], every[key]) for key in one if key != "source"}
    return Peaks(**scaled, source=f"{every['source']}, from one thread to {threads}")


def _of_target(name: str | None) -> Peaks | None:
    row = TARGETS.get(name) if name in TARGETS.names() else None
    if row is None or row.bandwidth_gbs is None:
        return None
    float32, float16, int8 = (
        None if rate is None else rate * 1e3 for rate in (row.fp32_tflops, row.fp16_tflops, row.int8_tops)
    )
    return Peaks(float32, float16, int8, row.bandwidth_gbs, f"published of the {row.title}")


def _products(model: bytes, threads: int) -> Iterator[Callable[[], Any]]:
    """Yield a function per installed library that computes a large matrix product."""
    data = np.full((_SIDE, _SIDE), 0.5, np.float32)
    rows = _multiplying()
    if not rows:
        require(ONNXRUNTIME.library, "measuring this machine's limits")
    for row in rows:
        yield partial(attribute(str(row.runner))(model, threads), data)


def _multiplying() -> list[Backend]:
    """Return the backends that are installed and run a matrix product on the CPU."""
    return [row for row in BACKENDS if row.runner and util.find_spec(row.library)]


def _rate(run: Callable[[], Any]) -> float:
    """Return 10^9 operations per second of the product of two square matrices."""
    return 2 * _SIDE**3 / _best(run) / 1e9


def _bandwidth(threads: int) -> float:
    """Return 10^9 bytes per second that a copy reads and writes."""
    size = max(_LEAST_BYTES, _CACHES * _last_cache()) // 8
    source, copy = np.ones(size), np.zeros(size)
    ends = [size * number // threads for number in range(threads + 1)]
    slices = [slice(low, high) for low, high in itertools.pairwise(ends)]
    # A copy leaves the interpreter's lock.
    with ThreadPoolExecutor(threads) as pool:
        best = _best(lambda: list(pool.map(lambda part: np.copyto(copy[part], source[part]), slices)))
    return 2 * source.nbytes / best / 1e9


def _last_cache() -> int:
    """Return the bytes of the largest cache of the first core; 0 where the kernel does not say."""
    sizes = [path.read_text().strip() for path in _CACHE_SIZES.glob("index*/size")]
    return max((int(size.rstrip("KM")) << (20 if size.endswith("M") else 10) for size in sizes), default=0)


def _best(run: Callable[[], Any]) -> float:
    """Return the shortest time of a call, in seconds."""
    run()
    clock = time.perf_counter
    best, end = float("inf"), clock() + _SECONDS
    while clock() < end:
        start = clock()
        run()
        best = min(best, clock() - start)
    return best
