"""What `edgecnn compile` keeps, against the fastest of the libraries' own ways at the same precision.

    python benchmarks/engines.py [--threads 1] [--loads 6] [NETWORK[:ALPHA] ...]

At float32: a default session of ONNX Runtime, and OpenVINO with float32 asked for (its default on a CPU with
bfloat16 is bfloat16). At int8: NNCF's quantization in OpenVINO, by both presets, calibrated on the same
images; NNCF is not part of `edgecnn[dev]`. Of ours there are two forms, for the targets cpu and openvino;
the faster one counts, as the faster preset does. All run in one process and take turns in a shuffled order;
each turn runs an engine once to have its data in the caches, then for 30 ms; all are loaded several times.
Printed are medians of the turns, and our engine's time over that of the fastest other, with a 95 % interval.
Target: at most 1.02, within that interval; ResNet-50 at least 3.3 times as fast in int8.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nncf
import numpy as np
import onnxruntime
import openvino

from edgecnn.compile import CompileRequest
from edgecnn.compile.fastest_engine import compile_fastest
from edgecnn.data.calibration_images import ImageSource
from edgecnn.export import ExportRequest, export
from edgecnn.measure.latency.statistics import paired_ratio
from edgecnn.measure.real_inputs import real_input
from edgecnn.runtime import Engine, load
from edgecnn.runtime.ort_engine import session_options
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
#: For each load.
ROUNDS = 8
TURN_SECONDS = 0.03
Run = Callable[[np.ndarray], object]
#: One array for each load.
Loads = list[np.ndarray]


def session(path: Path, threads: int) -> Run:
    options = session_options()
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


def kept(path: Path, threads: int) -> tuple[str, Path]:
    found = compile_fastest(CompileRequest(path, threads=threads)).kept
    return found.backend.title, found.path


def take_turns(loaders: dict[str, Callable[[], Run]], data: np.ndarray, loads: int) -> dict[str, Loads]:
    """Return the milliseconds of pairs of turns, an array for each load."""
    samples: dict[str, Loads] = {name: [] for name in loaders}
    # What ran before costs an engine more than what is measured here: each follows each.
    shuffled = np.random.default_rng(0).permutation
    for _ in range(loads):
        runs = {str(name): loaders[name]() for name in shuffled(list(loaders))}
        turns: dict[str, list[float]] = {name: [] for name in loaders}
        order: list[str] = []
        for number in range(ROUNDS):
            # Right after itself an engine is faster: in four rounds that happens to the first and the last.
            if number % 2:
                order = order[::-1]
            elif number % 4 == 0:
                order = list(shuffled(list(loaders)))
            for name in order:
                time.sleep(0.05)  # threads of ONNX Runtime's default session wait busily for 40 ms
                turns[name].append(turn(runs[name], data))
        for name, found in turns.items():
            samples[name].append(np.sqrt(np.array(found[0::2]) * np.array(found[1::2])))
    return samples


def turn(run: Run, data: np.ndarray) -> float:
    run(data)
    found: list[float] = []
    end = time.perf_counter() + TURN_SECONDS
    while len(found) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run(data)
        found.append(time.perf_counter() - start)
    return statistics.median(found) * 1e3


def compare(network: str, threads: int, loads: int, folder: Path) -> None:
    name, _, alpha = network.partition(":")
    spec = NetworkSpec(name, alpha=float(alpha or 1))
    exact = folder / "float.onnx"
    export(ExportRequest(spec, exact))
    files = {"float32": {"": exact}, "int8": {}}
    for target in ("cpu", "openvino"):
        files["int8"][f", {target}"] = folder / f"{target}.onnx"
        export(ExportRequest(spec, folder / f"{target}.onnx", precision="int8", target=target))
    others: dict[str, dict[str, Callable[[], Run]]] = {"float32": {}, "int8": {}}
    with load(exact) as engine:
        data = real_input(engine, 1)
        others["float32"]["ONNX Runtime"] = partial(session, exact, threads)
        others["float32"]["OpenVINO"] = partial(compiled, fixed(exact, data.shape), threads)
        for preset in ("performance", "mixed"):
            quantized = by_nncf(exact, engine, preset)
            others["int8"][f"NNCF {preset}"] = partial(compiled, quantized, threads)
    ours: dict[str, dict[str, Callable[[], Run]]] = {"float32": {}, "int8": {}}
    for precision, forms in files.items():
        for form, path in forms.items():
            title, engine_path = kept(path, threads)
            ours[precision][f"edgecnn ({title}{form})"] = partial(load, engine_path)
    flat = {
        f"{key} {name}": each for part in (others, ours) for key in part for name, each in part[key].items()
    }
    times = take_turns(flat, data, loads)
    median = {name: float(np.median(np.concatenate(found))) for name, found in times.items()}
    mine = {}
    for precision in others:
        names = [f"{precision} {name}" for name in (*others[precision], *ours[precision])]
        best = min((f"{precision} {name}" for name in others[precision]), key=median.__getitem__)
        mine[precision] = min((f"{precision} {name}" for name in ours[precision]), key=median.__getitem__)
        ratio = paired_ratio(times[mine[precision]], times[best])
        listed = ", ".join(f"{name.partition(' ')[2]} {median[name]:.2f}" for name in names)
        print(
            f"{network:20} {precision:8} {listed} ms;"
            f" ratio {ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        )
    faster = median[mine["float32"]] / median[mine["int8"]]
    print(f"{network:20} int8 is {faster:.2f} times as fast as float32", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--loads", type=int, default=6)
    asked = parser.parse_args()
    nncf.set_log_level(logging.ERROR)
    for network in asked.networks:
        with tempfile.TemporaryDirectory() as folder:
            compare(network, asked.threads, asked.loads, Path(folder))


if __name__ == "__main__":
    main()
