"""Peak memory and time of calibration with 64 and with 512 images of 224 x 224. Target: within 10 %.

    python benchmarks/calibration_memory.py [NETWORK]

The network, EfficientNet-Lite0 if none is named, is exported with random weights. Each count runs in a
process of its own, since the peak of a process never falls.
"""

import itertools
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.placement.place import place
from edgecnn.quantize.ranges import range_methods
from edgecnn.quantize.ranges.calibrate import observe
from edgecnn.schemes import SCHEMES

COUNTS = (64, 512)
BATCH = 4


def calibrate(path: str, images: int) -> None:
    model = onnx.load(path)
    placement = place(Graph(model))
    tensors = [name for name in placement.tensors if name not in placement.shares]
    _, channels, height, width = (axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim)
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((BATCH, channels, height, width), np.float32)
    # Other values each time, at no cost that would hide the calibration's.
    batches = (
        noise * np.float32(1 + index / 100) for index in itertools.islice(itertools.count(), images // BATCH)
    )
    start = time.perf_counter()
    observed = observe(model, tensors, batches)
    seconds = time.perf_counter() - start
    print(f"{images} images, {len(tensors)} tensors: {seconds:.1f} s", file=sys.stderr)
    for method in range_methods.METHODS:
        start = time.perf_counter()
        for observer in observed.values():
            for scheme in SCHEMES:
                range_methods.choose(observer, method, symmetric=scheme.symmetric, levels=scheme.levels)
        print(f"  {method:15} {1e3 * (time.perf_counter() - start):6.1f} ms", file=sys.stderr)
    # Linux only. getrusage would give the parent's peak, which the child of a fork starts with.
    status = Path("/proc/self/status").read_text()
    print(re.search(r"VmHWM:\s*(\d+) kB", status)[1])


def main() -> None:
    if len(sys.argv) == 3:
        return calibrate(sys.argv[1], int(sys.argv[2]))
    # Here, since the processes that calibrate must not carry torch's memory.
    from edgecnn.export import ExportRequest, export
    from edgecnn.zoo.spec import NetworkSpec

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        export(ExportRequest(NetworkSpec(sys.argv[1] if len(sys.argv) > 1 else "efficientnet_lite0"), path))
        peaks = []
        for count in COUNTS:
            done = subprocess.run(
                [sys.executable, __file__, path, str(count)], check=True, stdout=subprocess.PIPE, text=True
            )
            peaks.append(int(done.stdout) / 1024)
            print(f"{count} images: peak of {peaks[-1]:.0f} MiB")
    growth = peaks[1] / peaks[0] - 1
    print(f"from {COUNTS[0]} to {COUNTS[1]} images: {growth:+.1%}")
    sys.exit(abs(growth) > 0.1)


if __name__ == "__main__":
    main()
