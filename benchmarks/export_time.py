"""The whole int8 export against a bare script that only builds the same network and traces it.

    python benchmarks/export_time.py [RUNS]

Process to process, in turn, so that both meet the same machine. The bare script writes float ONNX; ours
also fits the random network to real images, simplifies, calibrates, quantizes, checks against
PyTorch on real images and writes. Target: at most 1.6 times.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import sys, torch
from edgecnn import zoo
network = zoo.build(zoo.architecture("mobilenet"), alpha=0.5).eval()
program = torch.onnx.export(
    network, (torch.randn(2, 3, 224, 224),), dynamo=True, opset_version=18, verbose=False,
    input_names=["input"], output_names=["logits"], dynamic_shapes=({0: torch.export.Dim("batch")},),
)
program.save(sys.argv[1])
"""


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(runs + 1):
            out = str(Path(folder) / "m.onnx")
            a = seconds(["-m", "edgecnn", "export", "mobilenet", "--alpha", "0.5", "--int8", "-o", out])
            b = seconds(["-c", BARE, out])
            if run:  # the first pair warms the disk cache
                ours.append(a)
                bare.append(b)
                print(f"int8 export {a:6.2f} s   bare trace {b:6.2f} s   ratio {a / b:.2f}", flush=True)
    ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
    a, b = statistics.median(ours), statistics.median(bare)
    print(f"median      {a:6.2f} s              {b:6.2f} s   ratio {ratio:.2f}")
    sys.exit(ratio > 1.6)


if __name__ == "__main__":
    main()
