"""Non-maximum suppression by ONNX Runtime, where torchvision has no compiled operators."""

from functools import cache

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper


@cache
def _session(iou: float) -> ort.InferenceSession:
    values = [
        helper.make_tensor(name, kind, [1], [value])
        for name, kind, value in (("most", TensorProto.INT64, 1 << 20), ("iou", TensorProto.FLOAT, iou))
    ]
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["rows"])
    inputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, "n", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, "n"]),
    ]
    outputs = [helper.make_tensor_value_info("rows", TensorProto.INT64, ["kept", 3])]
    graph = helper.make_graph([node], "suppression", inputs, outputs, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def nms(boxes, scores, iou_threshold):
    """torchvision.ops.nms: rows of (n, 4) corners that stay, best first."""
    import torch

    if not len(boxes):
        return torch.empty(0, dtype=torch.int64)
    feeds = {"boxes": boxes.numpy()[None], "scores": scores.numpy()[None, None]}
    rows = _session(iou_threshold).run(None, feeds)[0][:, 2]
    return torch.from_numpy(rows[np.argsort(-scores.numpy()[rows], kind="stable")])
