"""`evaluate` on 500 JPEG files, EfficientNet-Lite0: beside the engine alone, and what the cores allow.

    python benchmarks/eval_throughput.py [ROUNDS]

The engine alone has as many threads as there are cores, and batches that are prepared already. Decoding takes
the same cores, so with d and c seconds of one core for decoding and for inferring an image, `evaluate` cannot
reach more than about c / (c + d) of it. What can be asked is that no core waits, and that images which were
decoded before cost little. Targets, on a machine that does nothing else: at least 0.9 of the cores' time is
used; with kept frames at least 0.9 of the engine alone.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jpegs import write_jpegs

from edgecnn.data.folder import LabelledImages
from edgecnn.data.frame_cache import FrameCache
from edgecnn.export import ExportRequest, export
from edgecnn.measure.accuracy.evaluate import evaluate
from edgecnn.measure.accuracy.infer_images import cores
from edgecnn.runtime import load
from edgecnn.runtime.image_stream import BATCH
from edgecnn.zoo import NetworkSpec

IMAGES = 500


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "m.onnx"
        export(ExportRequest(NetworkSpec("efficientnet_lite0", weights="imagenet"), output=model))
        paths = write_jpegs(Path(folder), IMAGES)
        dataset = LabelledImages("crops", list(paths), [0] * IMAGES)
        with load(model, threads=1) as one, load(model, threads=cores()) as all_cores:
            batch = one.prepare(paths[:BATCH])

            def decode() -> None:
                for start in range(0, IMAGES, BATCH):
                    one.prepare(paths[start : start + BATCH])

            def infer() -> None:
                for _ in range(0, IMAGES, BATCH):
                    one(batch)

            def engine_alone() -> None:
                for _ in range(0, IMAGES, BATCH):
                    all_cores(batch)

            def whole() -> None:
                evaluate(one, dataset)

            def kept() -> None:
                evaluate(one, dataset, cache=FrameCache(Path(folder) / "frames"))

            works = (decode, infer, engine_alone, whole, kept)
            # The first round warms the caches.
            measured = [[seconds(work) for work in works] for _ in range(rounds + 1)][1:]
    decoding, inferring, alone, wall, again = (
        statistics.median(row[k][0] for row in measured) for k in range(len(works))
    )
    used = statistics.median(row[3][1] / (row[3][0] * cores()) for row in measured)
    possible = cores() * IMAGES / (decoding + inferring)
    reached = IMAGES / wall / possible
    print(
        f"one core: decode {1e3 * decoding / IMAGES:.2f} ms, infer {1e3 * inferring / IMAGES:.2f} ms; "
        f"{cores()} cores: engine alone {IMAGES / alone:.0f}/s, evaluate {IMAGES / wall:.0f}/s"
        f" ({alone / wall:.2f} of it; decoding leaves {inferring / (decoding + inferring):.2f}),"
        f" {reached:.2f} of what the cores allow, {used:.2f} of their time used;"
        f" with kept frames {IMAGES / again:.0f}/s ({alone / again:.2f} of the engine alone)"
    )
    sys.exit(not (used >= 0.9 and alone / again >= 0.9))


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Return the time that some work takes: on the wall, and of all cores together."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
