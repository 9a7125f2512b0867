"""`edgecnn profile`'s p50 against a raw loop over the library itself, same file and settings.

    python benchmarks/profile_overhead.py [MODEL.onnx] [--rounds 9]

For ONNX Runtime and OpenVINO, with one thread and two. Without a model, MobileNetV1 x 0.5 is exported in its
int8 form for CPUs: the shortest inference of the family, where an overhead shows most. Profiler and raw loop
take turns within one process. Target: within 2 %.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino

from edgecnn.compile import CompileRequest, compile_file
from edgecnn.export import ExportRequest, export
from edgecnn.measure.latency.profile_engines import profile
from edgecnn.measure.real_inputs import real_input
from edgecnn.runtime import load
from edgecnn.runtime.ort_engine import session_options
from edgecnn.zoo.spec import NetworkSpec

SECONDS = 1.0
Run = Callable[[np.ndarray], object]


def onnx_runtime(path: Path, threads: int) -> Run:
    options = session_options()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda data: session.run(None, {"input": data})


def open_vino(path: Path, threads: int) -> Run:
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    request = openvino.Core().compile_model(path, "CPU", properties).create_infer_request()
    return lambda data: request.infer(data, share_inputs=True)


def p50(run: Run, data: np.ndarray) -> float:
    """Return milliseconds."""
    samples, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        run(data)
        samples.append(time.perf_counter() - start)
    return statistics.median(samples) * 1e3


def ratio(path: Path, run: Run, threads: int, rounds: int) -> float:
    ratios = []
    with load(path, threads=threads) as engine:
        data = real_input(engine, None)
        p50(run, data)
        for _ in range(rounds):
            (ours,) = profile([engine], seconds=SECONDS)
            ratios.append(ours.milliseconds["p50"] / p50(run, data))
            time.sleep(0.05)  # threads of ONNX Runtime's default session wait busily for 40 ms
    return statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        path = asked.model or Path(folder) / "m.onnx"
        if asked.model is None:
            export(ExportRequest(NetworkSpec("mobilenet", alpha=0.5), path, precision="int8", target="cpu"))
        for threads in (1, 2):
            engine = compile_file(
                CompileRequest(path, Path(folder) / f"{threads}.xml", "openvino", threads=threads)
            ).path
            for name, file, make in (("ONNX Runtime", path, onnx_runtime), ("OpenVINO", engine, open_vino)):
                found = ratio(file, make(file, threads), threads, asked.rounds)
                print(f"{name}, {threads} thread(s): p50 over the raw loop's {found:.3f}", flush=True)
                failed |= abs(found - 1) > 0.02
    sys.exit(failed)


if __name__ == "__main__":
    main()
