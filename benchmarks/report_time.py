"""`edgecnn report` on a store of 10,000 results, whole process. Target: under 5 s.

    python benchmarks/report_time.py [RESULTS]

The results are of 250 files on four machines, with a thousand samples each: profiles again and again, and an
evaluation of each file. Both pages are timed: the newest result under each setting, and `--all`.
"""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edgecnn.measure import store
from edgecnn.measure.provenance import without_lists

FILES, SAMPLES, LIMIT = 250, 1000, 5.0
#: What an evaluation of a thousand classes prints, and the store does not keep.
LISTS = {
    "per_class": [{"class": index, "name": f"class {index}", "n": 50, "right": 40} for index in range(1000)],
    "mistakes": [{"label": index // 10, "answer": index % 997, "n": 1} for index in range(10_000)],
}


def fill(count: int) -> None:
    generator, names = random.Random(0), ("mobilenet_v1", "mobilenet_v2", "resnet18", "squeezenet1_1")
    noise = np.random.default_rng(0).gamma(2.0, 0.05, SAMPLES)
    for number in range(count):
        index = number % FILES
        p50 = 1.0 + index / 20
        values = {
            "path": f"models/network_{index}.onnx",
            "sha256": hashlib.sha256(str(index).encode()).hexdigest(),
            "architecture": names[index % len(names)],
            "alpha": 0.25,
            "resolution": 224,
            "precision": ("float32", "int8")[index % 2],
            "bytes": 10**6 + 10**4 * index,
            "macs": 10**8 + 10**6 * index,
            "params": 10**6,
            "backend": "onnxruntime",
            "device": "cpu",
            "lineage": [
                {"what": what, "parameters": {}, "metrics": {}} for what in ("build", "trace", "check")
            ],
        }
        if number < FILES:
            top1 = generator.uniform(0.5, 0.9)
            accuracy = {
                "data": "digits",
                "top1": top1,
                "top5": 1.0,
                "top1_interval": [top1, top1],
                "n": 50_000,
            }
            store.append("eval", without_lists({**values, **accuracy, **LISTS}))
            continue
        conditions = {
            "cpu": "a CPU",
            "cores": 1 + number // FILES % 4,
            "load": generator.random(),
            "batch": 1,
        }
        latency = {"p50": p50, "p90": 1.2 * p50, "p99": 1.5 * p50}
        measured = {"latency_ms": latency, "throughput_ips": 1e3 / p50, "conditions": conditions}
        store.append("profile", {**values, **measured}, p50 * (1 + noise))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EDGECNN_RESULTS"] = str(Path(folder) / "results.sqlite")
        start = time.perf_counter()
        fill(count)
        print(f"{count} results appended in {time.perf_counter() - start:.1f} s")
        slow = False
        for options in ([], ["--all"]):
            start = time.perf_counter()
            page = Path(folder) / "report.html"
            subprocess.run([sys.executable, "-m", "edgecnn", "report", "-o", page, *options], check=True)
            seconds = time.perf_counter() - start
            slow |= seconds > LIMIT
            print(f"edgecnn report {' '.join(options)}: {seconds:.2f} s")
    sys.exit(slow)


if __name__ == "__main__":
    main()
