"""Int8 of a detector and a segmenter that were trained here: ours beside ONNX Runtime's and NNCF's.

    pip install nncf    # else its row is left out, and said to be
    python benchmarks/detectors.py [--recipe recipes/stamps_ssdlite.yaml] [--runs FOLDER] [--json FILE]

Runs the recipe, or takes what it has made already, and quantizes the very same float file with the same 128
training pictures: ONNX Runtime with `quantize_static` per channel after its own preprocessing, NNCF with its
defaults. All are measured in ONNX Runtime on the pictures that test: mAP (mIoU of a segmenter) in points,
and the points lost to float. A layer counts as int8 if both of its operands come out of DequantizeLinear.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import yaml
from foreign import with_nncf, with_ort
from onnx.shape_inference import infer_shapes

import edgecnn
from edgecnn.data.calibration_images import ImageSource
from edgecnn.data.folder import LabelledImages
from edgecnn.data.open_dataset import open_dataset
from edgecnn.data.trained_on import test_images
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.quantize.graph.weighted_layer import macs_by_node
from edgecnn.runtime import prepare
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.image_files import open_image
from edgecnn.runtime.ort_engine import open_session

RECIPES = ("recipes/stamps_ssdlite.yaml", "recipes/stamps_lraspp.yaml")
CALIBRATION = 128
_BATCH = 16


def measured(model: onnx.ModelProto, engine: Engine, data: LabelledImages) -> dict[str, float | None]:
    """Return the figures of the task's metric, in points, of a model that has the float engine's outputs."""
    session = open_session(model.SerializeToString())
    metric, parts = engine.task.metric, []
    assert metric is not None
    for first in range(0, len(data.images), _BATCH):
        rows = range(first, min(first + _BATCH, len(data.images)))
        pictures = [open_image(data.images[row]) for row in rows]
        inputs = prepare.batch(engine.preprocessing, pictures)
        values = session.run(None, {session.get_inputs()[0].name: inputs})
        outputs = [Output(item.name, value) for item, value in zip(engine.outputs, values, strict=True)]
        views = [prepare.view(engine.preprocessing, Size(item.height, item.width)) for item in pictures]
        parts.append(metric.part(outputs, data.labels_of(rows), views))
    details = metric.details(parts, [])
    return {metric.name: metric.figure(parts), **(details.figures if details else {})}


def int8_share(model: onnx.ModelProto, macs: dict[str, int]) -> float:
    """Return the share of the multiplications whose operands both come out of DequantizeLinear.

    `macs` are those of the float file's layers, whose names all three quantizers keep.
    """
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    int8 = [
        macs[node.name]
        for node in model.graph.node
        if node.name in macs and all(made.get(name) == "DequantizeLinear" for name in node.input[:2])
    ]
    return sum(int8) / sum(macs.values())


def table(recipe: Path, runs: Path) -> dict[str, Any]:
    """Run a recipe, and return the figures of its float file and of every int8 form of that."""
    document = yaml.safe_load(recipe.read_text())
    folder, data = runs / document["name"], document["variables"]["data"]
    subprocess.run([sys.executable, "-m", "edgecnn", "run", str(recipe), "-o", str(folder)], check=True)
    models = {name: onnx.load(folder / f"{name}.onnx") for name in ("float", "cpu", "portable")}
    with edgecnn.load(folder / "float.onnx") as engine:
        source = ImageSource.open(
            engine.preprocessing, dataset=open_dataset(data), count=CALIBRATION, checks=1
        )
        calibration = prepare.batch(engine.preprocessing, source.calibration_files)
        models["onnxruntime"] = with_ort(models["float"], calibration)
        if importlib.util.find_spec("nncf"):
            models["nncf"] = with_nncf(models["float"], calibration)
        else:
            print("nncf is not installed: pip install nncf")
        tests = test_images(engine.manifest, data, None, task=engine.task.name)
        macs = macs_by_node(infer_shapes(models["float"]))
        rows = {
            name: {**measured(model, engine, tests), "int8": int8_share(model, macs)}
            for name, model in models.items()
        }
    return {"recipe": document["name"], "n": len(tests.images), "rows": rows}


def show(found: dict[str, Any]) -> None:
    """Print a table, figures in points."""
    rows = found["rows"]
    names = [name for name in rows["float"] if name != "int8"]
    print(f"\n{found['recipe']}, {found['n']} pictures that test")
    print(f"| file | {' | '.join(names)} | lost | int8 MACs |")
    print("|---|" + "---|" * (len(names) + 2))
    for name, row in rows.items():
        figures = " | ".join("-" if row[key] is None else f"{row[key]:.2f}" for key in names)
        lost = rows["float"][names[0]] - row[names[0]]
        print(f"| {name} | {figures} | {lost:.2f} | {100 * row['int8']:.1f} % |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipe", action="append", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = [table(recipe, given.runs) for recipe in given.recipe or map(Path, RECIPES)]
    for item in found:
        show(item)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
