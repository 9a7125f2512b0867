"""Engines on an NVIDIA GPU: built, checked against ONNX on the CPU, timed; writes docs/gpu-results.md.

python benchmarks/gpu.py [--networks resnet50 mobilenet] [--batches 1 32] [--seconds 3] [--folder build/gpu]

Uses what is installed of tensorrt-rtx-cu13, tensorrt and onnxruntime-gpu. Files that it finds in the folder
are not exported again. What cannot be built or run becomes a line with the reason.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import time
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.compile import BatchRange, CompileRequest, compile_file
from edgecnn.errors import EdgecnnError
from edgecnn.measure.latency import real_input
from edgecnn.measure.sensors.linux import cpu_model
from edgecnn.parity import compare
from edgecnn.runtime import Engine, load
from edgecnn.runtime.backends import BACKENDS
from edgecnn.runtime.cuda import Device
from edgecnn.runtime.fit import library_version

PRECISIONS = {"float32": [], "float16": ["--fp16"], "int8": ["--int8"]}
WARM_UP = 20
PACKAGES = ("torch", "onnxruntime-gpu", "tensorrt-rtx-cu13", "tensorrt")
COLUMNS = ["network", "precision", "batch", "engine", "graph", "p50 ms", "p99 ms", "images/s"]
COLUMNS += ["GPU ms", "in ms", "out ms", "against ONNX"]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--networks", nargs="+", default=["resnet50", "mobilenet"])
    options.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    options.add_argument("--seconds", type=float, default=3.0, help="of measuring for each line")
    options.add_argument("--folder", type=Path, default=Path("build/gpu"), help="for networks and engines")
    options.add_argument("-o", "--output", type=Path, default=Path("docs/gpu-results.md"))
    asked = options.parse_args()
    try:
        gpu = Device()
    except EdgecnnError as error:
        sys.exit(f"nothing to measure: {error}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    before = clocks()
    rows: list[list[str]] = []
    for network in asked.networks:
        for precision, flags in PRECISIONS.items():
            source = asked.folder / f"{network}_{precision}.onnx"
            if not source.exists():
                print(f"export {source.name}", flush=True)
                command = [sys.executable, "-m", "edgecnn", "export", network, *flags, "-o", str(source)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            for batch in asked.batches:
                for backend in ("onnxruntime", "tensorrt", "tensorrt-rtx"):
                    for row in lines(source, backend, batch, asked.seconds):
                        rows.append([network, precision, str(batch), *row])
                        print("  ".join(rows[-1]), flush=True)
    asked.output.write_text(report(gpu, before, asked.seconds, rows))
    print(f"wrote {asked.output}")


def lines(source: Path, backend: str, batch: int, seconds: float) -> list[list[str]]:
    """Return the table's lines of one engine: with and without a CUDA graph, or why there is none."""
    title = BACKENDS.get(backend).title
    blank = [""] * (len(COLUMNS) - 6)
    try:
        with load(source, device="cpu") as reference:
            images = real_input(reference, batch)
            logits = reference(images)
        engine = opened(source, backend, batch)
    except EdgecnnError as error:
        return [[title, "", *blank, str(error).replace("|", "/")]]
    with engine:
        try:
            parity = f"{compare(logits, engine(images), title, constant=True).sqnr_db:.1f} dB"
            if backend == "onnxruntime":
                on = "on" if engine.launches_graph else "off"
                host = figures(untimed(engine, images, seconds), batch)
                return [[title, on, *host, *timed(engine, images, seconds), parity]]
            made = []
            for graph in (True, False):
                engine.cuda_graph = graph  # type: ignore[attr-defined]
                host = untimed(engine, images, seconds)
                parts = timed(engine, images, seconds)
                on = "on" if graph else "off"
                if graph and engine.cuda_graph_refused:  # type: ignore[attr-defined]
                    on = f"refused: {engine.cuda_graph_refused}"  # type: ignore[attr-defined]
                made.append([title, on, *figures(host, batch), *parts, parity])
            return made
        except EdgecnnError as error:
            return [[title, "", *blank, str(error).replace("|", "/")]]


def opened(source: Path, backend: str, batch: int) -> Engine:
    """Return an engine for a batch; those of TensorRT are built and checked on 32 images first."""
    if backend == "onnxruntime":
        return load(source, device="cuda")
    library_version(BACKENDS.get(backend))
    output = source.with_name(f"{source.stem}_{backend}_{batch}.engine")
    request = CompileRequest(source, output, backend, batch=BatchRange(batch, batch, batch))
    return load(compile_file(request).path)


def untimed(engine: Engine, images: np.ndarray[Any, Any], seconds: float) -> np.ndarray[Any, Any]:
    """Return seconds of inferences from array to logits, without events in between."""
    for _ in range(WARM_UP):
        engine(images)
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < WARM_UP:
        start = time.perf_counter()
        engine(images)
        samples.append(time.perf_counter() - start)
    return np.array(samples)


def figures(samples: np.ndarray[Any, Any], batch: int) -> list[str]:
    p50, p99 = np.percentile(samples, [50, 99])
    return [f"{p50 * 1e3:.3f}", f"{p99 * 1e3:.3f}", f"{batch / samples.mean():.0f}"]


def timed(engine: Any, images: np.ndarray[Any, Any], seconds: float) -> list[str]:
    """Return medians of the GPU's time for the network, and for the ways in and out."""
    samples = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < WARM_UP:
        samples.append(engine.time(images))
    parts = [[part.device for part in samples], [part.copy_in for part in samples]]
    parts.append([part.copy_out for part in samples])
    return [f"{np.median(values) * 1e3:.3f}" for values in parts]


def clocks() -> str:
    """Return what nvidia-smi says of clocks, power and heat."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return "not known (no nvidia-smi)"
    query = "clocks.sm,clocks.max.sm,clocks.mem,power.draw,power.limit,temperature.gpu,persistence_mode"
    command = [tool, "--id=0", f"--query-gpu={query}", "--format=csv"]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        return f"not known: {answer.stdout.strip()}"
    names, values = (line.split(", ") for line in answer.stdout.strip().splitlines()[:2])
    return ", ".join(f"{name.split(' [')[0]} {value}" for name, value in zip(names, values, strict=True))


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def report(gpu: Device, before: str, seconds: float, rows: list[list[str]]) -> str:
    known = gpu.describe()
    conditions = [
        f"date: {date.today().isoformat()}",
        *(f"{name}: {value}" for name, value in known.items()),
        f"processor: {cpu_model()}, Python {platform.python_version()}",
        *(f"{package} {version(package)}" for package in PACKAGES),
        f"before: {before}",
        f"after: {clocks()}",
    ]
    table = [f"| {' | '.join(row)} |" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows)]
    return "\n".join(
        [
            "# Engines on a GPU",
            "",
            f"Made by `benchmarks/gpu.py`; {seconds:g} s for each figure, after {WARM_UP} runs. Weights are",
            "random, images real. p50, p99 and images/s: from the input array to the logits, transfers",
            "included, one call at a time. GPU ms: the network alone, in and out ms: the transfers; medians,",
            "TensorRT's on the GPU's clock. against ONNX: signal to noise of the logits against those of the",
            "same file in ONNX Runtime on the CPU. TensorRT computes float32 convolutions in TF32.",
            "",
            *(f"- {line}" for line in conditions),
            "",
            *table,
            "",
        ]
    )


if __name__ == "__main__":
    main()
