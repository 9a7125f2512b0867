"""`engine.predict` on 500 JPEG files, against decoding alone and inference alone.

    python benchmarks/predict_overlap.py [ROUNDS]

The engine has one thread, and so has decoding alone: on two cores the two can overlap fully. The three take
turns. Target: at least 0.9 of the smaller throughput.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from jpegs import write_jpegs

from edgecnn.export import ExportRequest, export
from edgecnn.runtime import load
from edgecnn.runtime.image_stream import BATCH
from edgecnn.zoo import NetworkSpec

IMAGES = 500


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "m.onnx"
        export(ExportRequest(NetworkSpec("mobilenet", alpha=0.5), output=model))
        paths = write_jpegs(Path(folder), IMAGES)
        with load(model, threads=1) as engine:

            def decode() -> None:
                for path in paths:
                    engine.prepare([path])

            batch = engine.prepare(paths[:BATCH])

            def infer() -> None:
                for _ in range(0, IMAGES, BATCH):
                    engine(batch)

            def both() -> None:
                engine.predict(paths)

            ratios = []
            for number in range(rounds + 1):
                rates = []
                for work in (decode, infer, both):
                    start = time.perf_counter()
                    work()
                    rates.append(IMAGES / (time.perf_counter() - start))
                if number:  # the first round warms the caches
                    ratios.append(rates[2] / min(rates[:2]))
    ratio = statistics.median(ratios)
    print(f"decode {rates[0]:.0f}/s  infer {rates[1]:.0f}/s  predict {rates[2]:.0f}/s  ratio {ratio:.3f}")
    sys.exit(not np.isfinite(ratio) or ratio < 0.9)


if __name__ == "__main__":
    main()
