"""What `edgecnn compile` keeps, against the fastest of the libraries' own ways at the same precision.

    python benchmarks/engines.py [--threads 1] [--rounds 30] [NETWORK[:ALPHA] ...]

At float32: a default session of ONNX Runtime, and OpenVINO with float32 asked for (its default on a CPU with
bfloat16 is bfloat16). At int8: NNCF's quantization in OpenVINO, by both presets, calibrated on the same
images; NNCF is not part of `edgecnn[dev]`. Of ours there are two forms, for the targets cpu and openvino;
the faster one counts, as the faster preset does. All run in one process and take turns; each turn runs an
engine once to have its data in the caches, then three times. Printed are medians of the turns, and our
engine's time over that of the fastest other. Target: at most 1.02; ResNet-50 is at least 3.3 times as fast in
int8.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nncf
import numpy as np
import onnxruntime
import openvino

from edgecnn.compile import CompileRequest
from edgecnn.compile.auto import compile_fastest
from edgecnn.data.source import ImageSource
from edgecnn.export import ExportRequest, export
from edgecnn.measure.latency import real_input
from edgecnn.runtime import Engine, load
from edgecnn.zoo.spec import NetworkSpec

NETWORKS = [
    "mobilenet:0.5",
    "mobilenet_v2",
    "efficientnet_lite0",
    "shufflenet_v2_x1_0",
    "resnet18",
    "resnet50",
    "densenet121",
    "squeezenet1_1",
]
Run = Callable[[np.ndarray], object]


def session(path: Path, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = opened.get_inputs()[0].name
    return lambda data: opened.run(None, {name: data})


def compiled(model: openvino.Model, threads: int) -> Run:
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    return openvino.Core().compile_model(model, "CPU", properties)


def fixed(path: Path, shape: tuple[int, ...]) -> openvino.Model:
    model = openvino.Core().read_model(path)
    model.reshape(list(shape))
    return model


def by_nncf(path: Path, engine: Engine, preset: str) -> openvino.Model:
    source = ImageSource.open(engine.preprocessing, count=64)
    images = [row[None] for batch in source.calibration() for row in batch]
    return nncf.quantize(
        fixed(path, images[0].shape),
        nncf.Dataset(images),
        preset=nncf.QuantizationPreset(preset),
        subset_size=len(images),
    )


def ours(path: Path, threads: int) -> tuple[str, Engine]:
    kept = compile_fastest(CompileRequest(path, threads=threads)).kept
    return kept.backend.title, load(kept.path)


def take_turns(runs: dict[str, Run], data: np.ndarray, rounds: int) -> dict[str, float]:
    """Return milliseconds."""
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(0.05)  # threads of ONNX Runtime's default session wait busily for 40 ms
            run(data)
            for _ in range(3):
                start = time.perf_counter()
                run(data)
                samples[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) * 1e3 for name, times in samples.items()}


def compare(network: str, threads: int, rounds: int, folder: Path) -> None:
    name, _, alpha = network.partition(":")
    spec = NetworkSpec(name, alpha=float(alpha or 1))
    exact = folder / "float.onnx"
    export(ExportRequest(spec, exact))
    files = {"float32": {"": exact}, "int8": {}}
    for target in ("cpu", "openvino"):
        files["int8"][f", {target}"] = folder / f"{target}.onnx"
        export(ExportRequest(spec, folder / f"{target}.onnx", precision="int8", target=target))
    others: dict[str, dict[str, Run]] = {"float32": {}, "int8": {}}
    with load(exact) as engine:
        data = real_input(engine, 1)
        others["float32"]["ONNX Runtime"] = session(exact, threads)
        others["float32"]["OpenVINO"] = compiled(fixed(exact, data.shape), threads)
        for preset in ("performance", "mixed"):
            others["int8"][f"NNCF {preset}"] = compiled(by_nncf(exact, engine, preset), threads)
    engines: dict[str, dict[str, Engine]] = {"float32": {}, "int8": {}}
    for precision, forms in files.items():
        for form, path in forms.items():
            title, engine = ours(path, threads)
            engines[precision][f"edgecnn ({title}{form})"] = engine
    every = {precision: {**others[precision], **engines[precision]} for precision in others}
    flat = {f"{precision} {name}": run for precision, runs in every.items() for name, run in runs.items()}
    times = take_turns(flat, data, rounds)
    mine = {}
    for precision, runs in every.items():
        found = {name: times[f"{precision} {name}"] for name in runs}
        mine[precision] = min(found[name] for name in engines[precision])
        best = min(found[name] for name in others[precision])
        listed = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        print(f"{network:20} {precision:8} {listed} ms; ratio {mine[precision] / best:.2f}")
    print(f"{network:20} int8 is {mine['float32'] / mine['int8']:.2f} times as fast as float32", flush=True)
    for opened in engines.values():
        for engine in opened.values():
            engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    asked = parser.parse_args()
    nncf.set_log_level(logging.ERROR)
    for network in asked.networks:
        with tempfile.TemporaryDirectory() as folder:
            compare(network, asked.threads, asked.rounds, Path(folder))


if __name__ == "__main__":
    main()
