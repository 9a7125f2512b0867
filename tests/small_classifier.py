"""A classifier of a few kilobytes, in each precision: for what does not depend on the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, parser

_NODES = {
    "float32": """
        c = Conv<pads=[1,1,1,1]>(x, w)
        r = Relu(c)
        g = GlobalAveragePool(r)
        f = Flatten(g)
        logits = Gemm(f, v, b)""",
    "float16": """
        xh = Cast<to=10>(x)
        c = Conv<pads=[1,1,1,1]>(xh, wh)
        r = Relu(c)
        g = GlobalAveragePool(r)
        f = Flatten(g)
        l = Gemm(f, vh, bh)
        logits = Cast<to=1>(l)""",
    "int8": """
        xq = QuantizeLinear(x, xs, z)
        xd = DequantizeLinear(xq, xs, z)
        wd = DequantizeLinear(wq, ws, z)
        c = Conv<pads=[1,1,1,1]>(xd, wd)
        r = Relu(c)
        g = GlobalAveragePool(r)
        f = Flatten(g)
        logits = Gemm(f, v, b)""",
}


def classifier(path: Path, precision: str = "float32", batch: str = "N", kind: str = "float") -> Path:
    """Write logits [batch, 5] of images [batch, 3, 16, 16]."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(8, 3, 3, 3)).astype(np.float32)
    v, b = rng.normal(size=(8, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    scale = np.float32(abs(w).max() / 127)
    values = {
        "float32": {"w": w, "v": v, "b": b},
        "float16": {"wh": w.astype(np.float16), "vh": v.astype(np.float16), "bh": b.astype(np.float16)},
        "int8": {
            "wq": np.round(w / scale).astype(np.int8),
            "ws": scale,
            "xs": np.float32(0.03),
            "z": np.int8(0),
            "v": v,
            "b": b,
        },
    }[precision]
    nodes = _NODES[precision]
    if kind == "uint8":
        nodes = nodes.replace("(x,", "(xf,").replace("c =", "xf = Cast<to=1>(x)\n c =", 1)
    graph = f"{kind}[{batch},3,16,16] x) => (float[{batch},5] logits) {{{nodes}\n}}"
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 17]> g ({graph}')
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
