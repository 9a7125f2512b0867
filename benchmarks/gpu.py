"""What works on an NVIDIA GPU, and how fast: driver, engines, training; writes docs/gpu-results.md.

python benchmarks/gpu.py [--networks resnet50 mobilenet] [--batches 1 32] [--seconds 3] [--folder build/gpu]

Engines are built, checked against ONNX on the CPU and timed. Uses what is installed of tensorrt-rtx-cu13,
tensorrt and onnxruntime-gpu. Files that it finds in the folder are not exported again. What cannot be built
or run becomes a line with the reason.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import gpu_driver
import gpu_training
import numpy as np

from edgecnn.backends import BACKENDS
from edgecnn.compile import BatchRange, CompileRequest, compile_file
from edgecnn.errors import EdgecnnError
from edgecnn.measure.conditions.probes import gpu_probes
from edgecnn.measure.conditions.sampler import Sampler
from edgecnn.measure.real_inputs import real_input
from edgecnn.measure.sensors import nvml
from edgecnn.measure.sensors.linux import cpu_model
from edgecnn.runtime import Engine, load
from edgecnn.runtime.compatibility import library_version
from edgecnn.runtime.cuda import Device
from edgecnn.runtime.ort_engine import open_session
from edgecnn.tasks.compare import compare

PRECISIONS = {"float32": [], "float16": ["--fp16"], "int8": ["--int8"]}
WARM_UP = 20
PACKAGES = ("torch", "onnxruntime-gpu", "tensorrt-rtx-cu13", "tensorrt")
COLUMNS = ["network", "precision", "batch", "engine", "graph", "p50 ms", "p99 ms", "images/s"]
COLUMNS += ["W", "mJ/image", "GPU ms", "in ms", "out ms", "against ONNX"]
#: Of each network: what `edgecnn export` gets besides the precision.
WEIGHTS = {"efficientnet_lite0": ["--weights", "imagenet"]}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--networks", nargs="+", default=["resnet50", "mobilenet", "efficientnet_lite0"])
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
    driver = gpu_driver.checks()
    print("\n".join(driver), flush=True)
    rows: list[list[str]] = []
    sections: dict[str, list[str]] = {"driver": driver, "training": [], "torchrun": []}
    # QuantizedFile after each part: a machine that is lent may be taken back in the middle.
    for network, source in exported(asked.networks, asked.folder).items():
        for precision, path in source.items():
            for batch in asked.batches:
                for backend in ("onnxruntime", "tensorrt", "tensorrt-rtx"):
                    for row in lines(path, backend, batch, asked.seconds):
                        rows.append([network, precision, str(batch), *row])
                        print("  ".join(rows[-1]), flush=True)
            asked.output.write_text(report(gpu, before, asked.seconds, rows, sections))
    sections["torchrun"] = gpu_training.under_torchrun(asked.folder)
    print("\n".join(sections["torchrun"]), flush=True)
    asked.output.write_text(report(gpu, before, asked.seconds, rows, sections))
    sections["training"] = table(gpu_training.COLUMNS, gpu_training.rows())
    asked.output.write_text(report(gpu, before, asked.seconds, rows, sections))
    print(f"wrote {asked.output}")


def exported(networks: list[str], folder: Path) -> dict[str, dict[str, Path]]:
    """Return the ONNX files of each network by precision; the missing ones are exported side by side."""
    found = {
        network: {precision: folder / f"{network}_{precision}.onnx" for precision in PRECISIONS}
        for network in networks
    }
    running = []
    for network, paths in found.items():
        for precision, path in paths.items():
            if not path.exists():
                command = [sys.executable, "-m", "edgecnn", "export", network, *WEIGHTS.get(network, [])]
                command += [*PRECISIONS[precision], "-o", str(path)]
                running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    for process in running:
        if process.wait():
            sys.exit(f"{' '.join(map(str, process.args))} ended with exit code {process.returncode}")
    return found


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
                host = figures(*untimed(engine, images, seconds), batch)
                bound = [title, on, *host, *timed(engine, images, seconds), parity]
                return [bound, *unbound(source, images, seconds)]
            made = []
            for graph in (True, False):
                engine.cuda_graph = graph  # type: ignore[attr-defined]
                host, watts = untimed(engine, images, seconds)
                parts = timed(engine, images, seconds)
                on = "on" if graph else "off"
                if graph and engine.cuda_graph_refused:  # type: ignore[attr-defined]
                    on = f"refused: {engine.cuda_graph_refused}"  # type: ignore[attr-defined]
                made.append([title, on, *figures(host, watts, batch), *parts, parity])
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


def unbound(source: Path, images: np.ndarray[Any, Any], seconds: float) -> list[list[str]]:
    """Return the line of a plain session: neither kept buffers nor a CUDA graph."""
    session = open_session(str(source), device="cuda")
    name = session.get_inputs()[0].name
    host = figures(*untimed(lambda array: session.run(None, {name: array}), images, seconds), len(images))
    return [["ONNX Runtime, plain session", "off", *host, "", "", "", ""]]


def untimed(
    engine: Callable[[Any], object], images: np.ndarray[Any, Any], seconds: float
) -> tuple[np.ndarray[Any, Any], float | None]:
    """Return seconds of inferences from array to logits, without events in between, and the card's watts."""
    for _ in range(WARM_UP):
        engine(images)
    samples: list[float] = []
    with Sampler(gpu_probes(nvml.open_gpu())) as sampler:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(samples) < WARM_UP:
            start = time.perf_counter()
            engine(images)
            samples.append(time.perf_counter() - start)
    return np.array(samples), sampler.summary().watts


def figures(samples: np.ndarray[Any, Any], watts: float | None, batch: int) -> list[str]:
    p50, p99 = np.percentile(samples, [50, 99])
    energy = ["", ""] if watts is None else [f"{watts:.0f}", f"{watts * samples.mean() / batch * 1e3:.2f}"]
    return [f"{p50 * 1e3:.3f}", f"{p99 * 1e3:.3f}", f"{batch / samples.mean():.0f}", *energy]


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


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)] if rows else []


def report(
    gpu: Device, before: str, seconds: float, rows: list[list[str]], sections: dict[str, list[str]]
) -> str:
    conditions = [
        f"date: {date.today().isoformat()}",
        *(f"{name}: {value}" for name, value in gpu.describe().items()),
        f"processor: {cpu_model()}, Python {platform.python_version()}",
        *(f"{package} {version(package)}" for package in PACKAGES),
        f"before: {before}",
        f"after: {clocks()}",
    ]
    parts = [
        "# On a GPU",
        "Made by `benchmarks/gpu.py`.",
        "\n".join(f"- {line}" for line in conditions),
        "## The driver",
        "\n".join(f"- {line}" for line in sections["driver"]),
        "## Engines",
        f"{seconds:g} s for each figure, after {WARM_UP} runs; images are real, and so are the weights of "
        f"{', '.join(WEIGHTS)}. p50, p99 and images/s: from the input array to the logits, transfers "
        "included, one call at a time. W and mJ: of the whole card, by NVML's counter of energy. GPU ms: the "
        "network alone, in and out ms: the transfers; medians. against ONNX: signal to noise of the logits "
        "against those of the same file in ONNX Runtime on the CPU. Float32 convolutions compute in TF32.",
        "\n".join(table(COLUMNS, rows)),
    ]
    if sections["torchrun"]:
        parts += ["## One process of torchrun, with NCCL"]
        parts += ["\n".join(f"- {line}" for line in sections["torchrun"])]
    if sections["training"]:
        batch, epochs = gpu_training.BATCH, gpu_training.EPOCHS
        parts += [
            "## Training",
            f"Batches of {batch}, {epochs} epochs of 899 images; medians of pairs in turns.",
        ]
        parts += ["\n".join(sections["training"])]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
