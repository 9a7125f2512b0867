"""A network of ours as one of somebody else, which takes images that are prepared in another way."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
#: What a network takes: from that to ImageNet's.
TAKES = {
    "ImageNet": (np.ones(3), np.zeros(3)),
    "0..1": (1 / STD, -MEAN / STD),
    "-1..1": (0.5 / STD, (0.5 - MEAN) / STD),
    "0..255": (1 / (255 * STD), -MEAN / STD),
}


def foreign(network: Path, path: Path, takes: str) -> str:
    """Write a network without its manifest, with what it takes by the name in TAKES; return the path."""
    model = onnx.load(network)
    del model.metadata_props[:]
    for node in model.graph.node:
        node.input[:] = ["prepared" if name == "input" else name for name in node.input]
    for name, value in zip(("scale", "offset"), TAKES[takes], strict=True):
        model.graph.initializer.append(
            numpy_helper.from_array(value.astype(np.float32).reshape(1, 3, 1, 1), f"to_{name}")
        )
    # So that nobody sees that the graph prepares its images itself: it stands for one that learned it.
    model.graph.node.insert(0, helper.make_node("Sum", ["input"], ["alone"], name="hiding"))
    model.graph.node.insert(1, helper.make_node("Mul", ["alone", "to_scale"], ["scaled"], name="scaling"))
    model.graph.node.insert(2, helper.make_node("Add", ["scaled", "to_offset"], ["prepared"], name="moving"))
    onnx.save(model, path)
    return str(path)
