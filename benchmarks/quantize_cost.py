"""What int8 costs: processor seconds and peak memory, beside ONNX Runtime's and NNCF's quantizers.

    pip install nncf    # else its lines are left out, and said to be
    python benchmarks/quantize_cost.py [--rounds 3] [NETWORK ...]

All quantize the same float file, with 128 images to calibrate: the peers read them as one prepared array,
edgecnn opens them itself, and checks what it made on 64 others. The processes take turns in a shuffled order.
Seconds are those of all cores together, user and system: unlike a clock's they hardly depend on what else
the machine does. Targets: `fast` at most 1.5 times NNCF's, `default` at most 3 times; the peak at most
1.5 times NNCF's.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

#: Names of networks, with @ and the input's side where that is not their own; the last as for a detector.
NETWORKS = ["efficientnet_lite0", "mobilenet_v2", "resnet18", "resnet50", "densenet121", "mobilenet_v2@640"]
IMAGES = 128

ORT = """
import sys, numpy as np
from onnxruntime import quantization as q
images = np.load(sys.argv[2], mmap_mode="r")
class Reader(q.CalibrationDataReader):
    def __init__(self): self.batches = iter([{"input": images[i : i + 1]} for i in range(len(images))])
    def get_next(self): return next(self.batches, None)
q.quantize_static(sys.argv[1], sys.argv[3], Reader(), quant_format=q.QuantFormat.QDQ,
    activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8, per_channel=True)
"""
NNCF = """
import sys, numpy as np, onnx, nncf
images = np.load(sys.argv[2], mmap_mode="r")
singly = [images[i : i + 1] for i in range(len(images))]
data = nncf.Dataset(singly, lambda x: {"input": np.ascontiguousarray(x)})
onnx.save(nncf.quantize(onnx.load(sys.argv[1]), data, subset_size=len(images)), sys.argv[3])
"""
PREPARE = f"""
import sys, numpy as np
from pathlib import Path
from edgecnn.data import builtin
from edgecnn.runtime.prepare import normalize
from edgecnn.export import ExportRequest, export
from edgecnn.zoo.spec import NetworkSpec
name, alpha, source, images = sys.argv[1:]
architecture, _, side = name.partition("@")
weights = "imagenet" if architecture == "efficientnet_lite0" else "random"
spec = NetworkSpec(architecture, alpha=float(alpha), weights=weights, resolution=int(side) if side else None)
export(ExportRequest(spec, Path(source)))
preparation = spec.preprocessing
frames = builtin.frames(preparation, {IMAGES}, check=False, digit_images=False)
np.save(images, normalize(preparation, frames))
"""


def ways(source: Path, images: Path, output: Path) -> dict[str, list[str]]:
    """Return the command lines by name."""
    files = [str(source), str(images), str(output)]
    ours = [sys.executable, "-m", "edgecnn", "quantize", str(source), "-o", str(output), "--target", "cpu"]
    ours += ["--calib-images", str(IMAGES), "--force"]
    found = {"ONNX Runtime": [sys.executable, "-c", ORT, *files]}
    if importlib.util.find_spec("nncf"):
        found["NNCF"] = [sys.executable, "-c", NNCF, *files]
    return {**found, **{effort: [*ours, "--effort", effort] for effort in ("fast", "default")}}


def run(command: list[str]) -> tuple[float, float]:
    """Return processor seconds and peak gigabytes of a process."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[:4]} failed: {said.decode(errors='replace')[-400:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def prepare(name: str, folder: Path, alpha: float = 1.0) -> tuple[Path, Path]:
    """Export a network by a name of NETWORKS, and write prepared images for it; return both files.

    By another process: what starts as a copy of this one has at least its peak of memory.
    """
    files = folder / f"{name}-{alpha:g}.onnx", folder / f"{name}.npy"
    subprocess.run([sys.executable, "-c", PREPARE, name, str(alpha), *map(str, files)], check=True)
    return files


def measured(name: str, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Return the medians of processor seconds and gigabytes of each way to quantize a network."""
    commands = ways(*prepare(name, folder), folder / "int8.onnx")
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in commands}
    shuffled = np.random.default_rng(0).permutation
    for _ in range(rounds):
        for way in shuffled(list(commands)):
            taken[str(way)].append(run(commands[str(way)]))
    return {
        way: [statistics.median(part) for part in zip(*figures, strict=True)]
        for way, figures in taken.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if importlib.util.find_spec("nncf") is None:
        print("NNCF: not installed")
    print(f"{'':20} {'':12} seconds  of NNCF's   peak GB  of NNCF's")
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.networks:
            medians = measured(name, asked.rounds, Path(folder))
            for way, (seconds, peak) in medians.items():
                theirs = medians.get("NNCF")
                of_theirs = [f"{seconds / theirs[0]:.2f}", f"{peak / theirs[1]:.2f}"] if theirs else ["", ""]
                print(
                    f"{name:20} {way:12} {seconds:7.1f} {of_theirs[0]:>10} {peak:9.2f} {of_theirs[1]:>10}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
