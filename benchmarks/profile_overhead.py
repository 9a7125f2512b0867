"""`edgecnn profile`'s p50 against a raw loop over ONNX Runtime, same settings. Target: within 3 %.

    python benchmarks/profile_overhead.py [MODEL.onnx] [THREADS]

Without a model, MobileNetV1 x 0.5 is exported in its int8 form for CPUs: the shortest inference of the
family, where an overhead shows most. Profiler and raw loop take turns within one process.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from edgecnn.export import ExportRequest, export
from edgecnn.measure.latency import profile, real_input
from edgecnn.runtime import load
from edgecnn.zoo.spec import NetworkSpec

ROUNDS, SECONDS = 9, 1.0


def raw(session: onnxruntime.InferenceSession, data: np.ndarray) -> float:
    samples, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, {"input": data})
        samples.append(time.perf_counter() - start)
    return statistics.median(samples) * 1e3


def main() -> None:
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder) / "m.onnx"
        if len(sys.argv) < 2:
            export(ExportRequest(NetworkSpec("mobilenet", alpha=0.5), path, precision="int8", target="cpu"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        ratios = []
        with load(path, threads=threads) as engine:
            data = real_input(engine, None)
            raw(session, data)
            for _ in range(ROUNDS):
                (ours,) = profile([engine], seconds=SECONDS)
                loop = raw(session, data)
                ratios.append(ours.milliseconds["p50"] / loop)
                p50 = ours.milliseconds["p50"]
                print(f"profile p50 {p50:.3f} ms   raw loop {loop:.3f} ms   ratio {ratios[-1]:.3f}")
    ratio = statistics.median(ratios)
    print(f"median ratio {ratio:.3f} with {threads} thread(s)")
    sys.exit(abs(ratio - 1) > 0.03)


if __name__ == "__main__":
    main()
