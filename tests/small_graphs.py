"""One small graph per pattern of Q/DQ placement, with what is expected of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import parser

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Golden:
    """Nodes in ONNX's text form, from `x` to `y`; what differs under a scheme is given apart."""

    nodes: str
    #: Quantized tensors.
    tensors: str
    shares: dict[str, str]
    float_nodes: dict[str, str]
    cpu_tensors: str | None = None
    cpu_shares: dict[str, str] | None = None
    cpu_float: dict[str, str] | None = None
    #: OpenVINO's convolutions add what is int8; elsewhere it takes what TensorRT takes.
    openvino_tensors: str | None = None
    #: Integer operators that ONNX Runtime must make of the cpu form, whatever else there is.
    integer: str = ""
    #: Whether it runs on a batch of images, and builds.
    runs: bool = True


_IN, _OUT = "c = Conv(x, w)", "y = Conv(m, w)"


def _between(middle: str) -> str:
    """Return `middle`, from c to m, between two convolutions."""
    return f"{_IN} {middle} {_OUT}"


def _activation(op: str, integer: str = "", attributes: str = "") -> Golden:
    """An activation that fuses on TensorRT and, if `integer` is empty, is float in ONNX Runtime."""
    return Golden(
        _between(f"m = {op}{attributes}(c)"), "x m", {}, {},
        cpu_tensors="x c m", cpu_float={} if integer else {op: f"no int8 form: {op}"},
        integer=f"QLinearConv {integer}",
    )  # fmt: skip


def _move(middle: str, integer: str = "QLinearConv") -> Golden:
    """A node that keeps its input's scale."""
    return Golden(_between(middle), "x c m", {"m": "c"}, {}, integer=integer)


def _float(op: str, middle: str) -> Golden:
    """A node that stays float: on TensorRT the convolution before it gives floats, too."""
    return Golden(
        _between(middle), "x m", {}, {op: f"no int8 form: {op}"}, cpu_tensors="x c m", integer="QLinearConv"
    )


GOLDEN: dict[str, Golden] = {
    "one convolution": Golden("y = Conv(x, w)", "x", {}, {}),
    "convolution and relu": Golden(
        "c = Conv(x, w) m = Relu(c) y = Conv(m, w)", "x m", {}, {}, integer="QLinearConv"
    ),
    "convolution and relu6": Golden(
        "c = Conv(x, w, b) m = Clip(c, zero, six) y = Conv(m, w)", "x m", {}, {}, integer="QLinearConv"
    ),
    "linear convolution before another": Golden(
        "c = Conv(x, w) y = Conv(c, w)", "x c", {}, {}, integer="QLinearConv"
    ),
    "gemm and matmul give floats": Golden(
        "g = GlobalAveragePool(x) f = Flatten(g) h = Gemm <transB = 1> (f, v, b) r = Relu(h)"
        " y = MatMul(r, v)",
        "x g f r", {"f": "g"}, {}, integer="QLinearGlobalAveragePool QGemm",
    ),
    "residual": Golden(
        f"{_IN} r = Relu(c) d = Conv(r, w) s = Add(r, d) m = Relu(s) {_OUT}", "x r m", {}, {},
        cpu_tensors="x r d m", openvino_tensors="x r d m", integer="QLinearConv QLinearAdd",
    ),
    "both summands are convolutions": Golden(
        f"{_IN} r = Relu(c) d = Conv(r, w) e = Conv(r, w) m = Add(d, e) {_OUT}", "x r e m", {}, {},
        cpu_tensors="x r d e m", openvino_tensors="x r d e m", integer="QLinearConv QLinearAdd",
    ),
    "convolution read twice is quantized before its activation": Golden(
        f"{_IN} r = Relu(c) m = Add(r, c) {_OUT}", "x c r m", {}, {}, integer="QLinearConv QLinearAdd"
    ),
    "a sum that no integer node reads stays float": Golden(
        f"{_IN} d = Conv(x, w) s = Add(c, d) y = Relu(s)", "x", {}, {"Add": "no int8 after it: Add"},
        cpu_tensors="x c d", integer="QLinearConv",
    ),
    "adding a constant": Golden(
        _between("m = Add(c, a)"), "x m", {}, {"Add": "it adds a constant"}, cpu_tensors="x c m",
        integer="QLinearConv",
    ),
    "multiplying by a constant": Golden(
        _between("m = Mul(a, c)"), "x m", {}, {"Mul": "it multiplies by a constant"}, cpu_tensors="x c m",
        cpu_float={}, integer="QLinearConv QLinearMul",
    ),
    # concatenation
    "concat": Golden(
        "a1 = Conv(x, w) a2 = Conv(x, w) m = Concat <axis = 1> (a1, a2) y = Conv(m, w8)", "x a1 a2 m",
        {"a2": "a1", "m": "a1"}, {}, integer="QLinearConv QLinearConcat",
    ),
    "concat of a clipped tensor and another": Golden(
        "c = Conv(x, w) r = Relu(c) d = Conv(x, w) m = Concat <axis = 1> (r, d) y = Conv(m, w8)", "x r d m",
        {"d": "r", "m": "r"}, {}, cpu_shares={}, integer="QLinearConv QLinearConcat",
    ),
    "concat of concat": Golden(
        "a1 = Conv(x, w) r = Relu(a1) d = Conv(r, w) a2 = Relu(d) k = Concat <axis = 1> (r, a2)"
        " e = Conv(k, w8) a3 = Relu(e) m = Concat <axis = 1> (k, a3) y = Conv(m, w12)",
        "x r a2 k a3 m", dict.fromkeys(("a2", "k", "a3", "m"), "r"), {},
        integer="QLinearConv QLinearConcat",
    ),
    "concat of what a pooling moved": Golden(
        "c = Conv(x, w) r = Relu(c) p = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r)"
        " e = Conv(r, w) d = Relu(e) m = Concat <axis = 1> (p, d) y = Conv(m, w8)",
        "x r p d m", dict.fromkeys(("p", "d", "m"), "r"), {}, integer="QLinearConv QLinearConcat",
    ),
    "concat before a batch normalization": Golden(
        "a1 = Conv(x, w) k = Concat <axis = 1> (x, a1) n = BatchNormalization(k, s8, s8, s8, s8) m = Relu(n)"
        " y = Conv(m, w8)",
        "x a1 k m", {"a1": "x", "k": "x"}, {"BatchNormalization": "no int8 form: BatchNormalization"},
        cpu_tensors="x a1 m", cpu_shares={}, integer="QLinearConv",
        cpu_float={
            "Concat": "no int8 after it: Concat",
            "BatchNormalization": "no int8 form: BatchNormalization",
        },
    ),
    "concat with a constant": Golden(
        "c = Conv(x, w) k = Concat <axis = 1> (c, map) y = Conv(k, w8)", "x k", {},
        {"Concat": "it joins a constant"}, cpu_tensors="x c k", runs=False,
    ),
    # pooling
    "average pooling": Golden(
        _between("m = AveragePool <kernel_shape = [2, 2]> (c)"), "x c m", {}, {},
        integer="QLinearConv QLinearAveragePool",
    ),
    "global average pooling": Golden(
        _between("m = GlobalAveragePool(c)"), "x c m", {}, {}, integer="QLinearConv QLinearGlobalAveragePool"
    ),
    "mean over height and width": Golden(
        _between("m = ReduceMean(c, hw)"), "x c m", {}, {},
        cpu_float={"ReduceMean": "no int8 form: ReduceMean"}, integer="QLinearConv",
    ),
    "mean over channels": Golden(
        _between("k = ReduceMean(c, one) m = Expand(k, shape)"), "x k m", {"m": "k"},
        {"ReduceMean": "no int8 form: ReduceMean"}, cpu_tensors="x c k m", integer="QLinearConv Expand",
    ),
    "max pooling": _move("m = MaxPool <kernel_shape = [2, 2]> (c)", "QLinearConv NhwcMaxPool"),
    "global max pooling": _move("m = GlobalMaxPool(c)"),
    "maximum over height and width": _move("m = ReduceMax(c, hw)", "QLinearConv ReduceMax"),
    # moves
    "two moves in a row": Golden(
        _between("p = MaxPool <kernel_shape = [2, 2]> (c) m = MaxPool <kernel_shape = [2, 2]> (p)"),
        "x c p m", {"p": "c", "m": "c"}, {}, integer="QLinearConv NhwcMaxPool",
    ),
    "a move into the logits": Golden(
        f"{_IN} y = Flatten(c)", "x", {}, {}, cpu_tensors="x c", integer="QLinearConv"
    ),
    "a move behind a float node": Golden(
        "s = Softmax <axis = 1> (x) m = Transpose <perm = [0, 1, 3, 2]> (s) y = Conv(m, w)", "s m",
        {"m": "s"}, {"Softmax": "no int8 form: Softmax"}, integer="Transpose",
    ),
    "nearest resize": _move('m = Resize <mode = "nearest"> (c, , twice)', "QLinearConv Resize"),
    "linear resize": Golden(
        _between('m = Resize <mode = "linear"> (c, , twice)'), "x c m", {}, {},
        cpu_float={"Resize": "no int8 form: Resize"}, integer="QLinearConv",
    ),
    "cubic resize": Golden(
        _between('m = Resize <mode = "cubic"> (c, , twice)'), "x m", {},
        {"Resize": "it interpolates by cubic: Resize"}, cpu_tensors="x c m", integer="QLinearConv",
    ),
    "pad with zero": _move("m = Pad(c, margin)"),
    "pad by reflection": _move('m = Pad <mode = "reflect"> (c, margin)'),
    "pad with one": Golden(
        _between("m = Pad(c, margin, unit)"), "x m", {}, {"Pad": "it pads with a value other than zero"},
        cpu_tensors="x c m", integer="QLinearConv",
    ),
    "slice": _move("m = Slice(c, i1, i3, i2)", "QLinearConv Slice"),
    "gather": _move("m = Gather <axis = 2> (c, i1)", "QLinearConv Gather"),
    "depth to space": Golden(
        f"{_IN} d = DepthToSpace <blocksize = 2> (c) m = SpaceToDepth <blocksize = 2> (d) {_OUT}", "x c d m",
        {"d": "c", "m": "c"}, {}, integer="QLinearConv",
    ),
    "dropout": _move("m = Dropout(c)"),
    "identity": _move("m = Identity(c)"),
    "squeeze": Golden(
        f"{_IN} g = GlobalAveragePool(c) q = Squeeze(g, hw) m = Unsqueeze(q, hw) {_OUT}", "x c g q m",
        {"q": "g", "m": "g"}, {}, integer="QLinearConv QLinearGlobalAveragePool Squeeze",
    ),
    "channel shuffle and split": Golden(
        "c = Conv(x, w) r = Reshape(c, groups) t = Transpose <perm = [0, 2, 1, 3, 4]> (r)"
        " u = Reshape(t, back) p1, p2 = Split <axis = 1, num_outputs = 2> (u)"
        " q = Conv(p2, w2) m = Concat <axis = 1> (p1, q)"
        " y = Conv(m, w)",
        "x c r t u p1 p2 q m", dict.fromkeys(("r", "t", "u", "p1", "p2", "q", "m"), "c"), {},
        integer="QLinearConv QLinearConcat Split",
    ),
    "shape arithmetic": Golden(
        "c = Conv(x, w) s = Shape(c) i = Gather(s, zeros) k = Concat <axis = 0> (i, rest) m = Reshape(c, k)"
        " y = Conv(m, w)",
        "x c m", {"m": "c"}, {}, integer="QLinearConv Reshape",
    ),
    # activations
    **{op: _activation(op) for op in ("HardSwish", "HardSigmoid", "Tanh", "Elu")},
    "Sigmoid": _activation("Sigmoid", "QLinearSigmoid"),
    "LeakyRelu": _activation("LeakyRelu", "QLinearLeakyRelu"),
    "PRelu": Golden(
        _between("m = PRelu(c, a)"), "x m", {}, {}, cpu_tensors="x c m",
        cpu_float={"PRelu": "no int8 form: PRelu"}, integer="QLinearConv",
    ),
    "SiLU": Golden(
        _between("s = Sigmoid(c) m = Mul(c, s)"), "x m", {}, {}, cpu_tensors="x c s m",
        integer="QLinearConv QLinearSigmoid QLinearMul",
    ),
    "hard-swish in two nodes": Golden(
        _between("s = HardSigmoid(c) m = Mul(s, c)"), "x m", {}, {}, cpu_tensors="x c m",
        cpu_float={"HardSigmoid": "no int8 form: HardSwish", "Mul": "no int8 form: HardSwish"},
        integer="QLinearConv",
    ),
    "GELU": Golden(
        _between("d = Div(c, six) e = Erf(d) f = Add(e, unit) g = Mul(c, f) m = Mul(g, unit)"), "x m", {},
        {"Mul2": "it multiplies by a constant"}, cpu_tensors="x c m",
        cpu_float={
            **dict.fromkeys(("Div", "Erf", "Add", "Mul"), "no int8 form: Gelu"),
            "Mul2": "it multiplies by a constant",
        },
        integer="QLinearConv",
    ),
    "a tensor that SiLU is not alone to read": Golden(
        f"{_IN} s = Sigmoid(c) p = Mul(c, s) d = Conv(p, w) m = Add(c, d) {_OUT}", "x c p m", {},
        {"Sigmoid": "no int8 form: Swish", "Mul": "no int8 form: Swish"},
        cpu_tensors="x c s p d m", cpu_float={},
        openvino_tensors="x c p d m", integer="QLinearConv QLinearSigmoid QLinearMul QLinearAdd",
    ),
    "squeeze and excitation": Golden(
        f"{_IN} r = Relu(c) g = GlobalAveragePool(r) d = Conv(g, w) e = Relu(d) f = Conv(e, w) s = Sigmoid(f)"
        f" m = Mul(s, r) {_OUT}",
        "x r g e s m", {}, {}, cpu_tensors="x r g e f s m",
        integer="QLinearConv QLinearGlobalAveragePool QLinearSigmoid QLinearMul",
    ),
    "squeeze and excitation with a hard gate": Golden(
        f"{_IN} r = HardSwish(c) g = GlobalAveragePool(r) f = Conv(g, w) s = HardSigmoid(f)"
        f" m = Mul(s, r) {_OUT}",
        "x r g s m", {}, {}, cpu_tensors="x c r g f s m",
        cpu_float={"HardSwish": "no int8 form: HardSwish", "HardSigmoid": "no int8 form: HardSigmoid"},
        integer="QLinearConv QLinearGlobalAveragePool QLinearMul",
    ),
    # nodes that stay float
    "local response normalization": _float("LRN", "m = LRN <size = 3> (c)"),
    "softmax": _float("Softmax", "m = Softmax <axis = 1> (c)"),
    "layer normalization": _float("LayerNormalization", "m = LayerNormalization <axis = -1> (c, eight)"),
    "batch normalization": _float("BatchNormalization", "m = BatchNormalization(c, b, b, b, b)"),
    "attention": Golden(
        _between("t = Transpose <perm = [0, 1, 3, 2]> (c) m = MatMul(c, t)"), "x m", {},
        {"MatMul": "its weights are not constant"}, cpu_tensors="x c m", integer="QLinearConv",
    ),
    "a convolution by a computed weight": Golden(
        "k = Relu(x) y = Conv(x, k)", "", {}, {"Conv": "its weights are not constant"}, runs=False
    ),
    "a computed bias": Golden(
        "g = GlobalAveragePool(x) f = ReduceMean <keepdims = 0> (g, nhw) c = Conv(x, w, f) y = Conv(c, w)",
        "x c", {},
        {
            "GlobalAveragePool": "no int8 after it: GlobalAveragePool",
            "ReduceMean": "no int8 form: ReduceMean",
        },
        cpu_tensors="c",
        cpu_float={
            "GlobalAveragePool": "no int8 after it: GlobalAveragePool",
            "ReduceMean": "no int8 form: ReduceMean",
            "Conv": "its bias is not constant",
        },
    ),
    "transposed convolution": Golden(
        "c = ConvTranspose <strides = [2, 2], kernel_shape = [2, 2]> (x, up, b3) m = Relu(c) y = Conv(m, w3)",
        "x m", {}, {}, cpu_tensors="m", cpu_float={"ConvTranspose": "no int8 form: ConvTranspose"},
    ),
    "grouped transposed convolution": Golden(
        "c = ConvTranspose <group = 2, kernel_shape = [2, 2]> (x, up2) y = Conv(c, w)",
        "c", {}, {"ConvTranspose": "a grouped ConvTranspose"},
        cpu_float={"ConvTranspose": "no int8 form: ConvTranspose"},
    ),
}  # fmt: skip

#: Constants by the names that the graphs use.
CONSTANTS = {
    "w": RNG.normal(size=(4, 4, 1, 1)), "w3": RNG.normal(size=(4, 3, 1, 1)),
    "w8": RNG.normal(size=(4, 8, 1, 1)), "w12": RNG.normal(size=(4, 12, 1, 1)),
    "w2": RNG.normal(size=(2, 2, 1, 1)),
    "up": RNG.normal(size=(4, 3, 2, 2)), "up2": RNG.normal(size=(4, 2, 2, 2)),
    "v": RNG.normal(size=(4, 4)), "map": RNG.normal(size=(1, 4, 8, 8)),
    "a": RNG.uniform(0.1, 0.5, size=(4, 1, 1)),
    "b": RNG.uniform(0.5, 2, size=4), "b3": RNG.normal(size=3),
    "s8": RNG.uniform(0.5, 2, size=8), "eight": RNG.uniform(0.5, 2, size=8),
    "zero": 0.0, "unit": 1.0, "six": 6.0,
    "twice": np.array([1, 1, 2, 2], np.float32),
    "hw": [2, 3], "nhw": [0, 2, 3], "one": [1], "shape": [1, 4, 1, 1], "margin": [0, 0, 1, 1, 0, 0, 1, 1],
    "i1": [1], "i2": [2], "i3": [3], "zeros": [0], "rest": [4, 8, 8],
    "groups": [-1, 2, 2, 8, 8], "back": [-1, 4, 8, 8],
}  # fmt: skip


def model_of(nodes: str) -> onnx.ModelProto:
    """Return the model from x (N, 4, 8, 8) to y; nodes are named Conv, Conv2 and so on."""
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[n, 4, 8, 8] x) => (float y) {{ {nodes} }}'
    )
    del model.graph.value_info[:], model.graph.initializer[:]
    used: dict[str, int] = {}
    for node in model.graph.node:
        count = used[node.op_type] = used.get(node.op_type, 0) + 1
        node.name = node.op_type if count == 1 else f"{node.op_type}{count}"
    for name in dict.fromkeys(name for node in model.graph.node for name in node.input if name in CONSTANTS):
        value = np.asarray(CONSTANTS[name])
        value = value.astype(np.float32 if value.dtype.kind == "f" else np.int64)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model).graph.output[0]
    model.graph.output[0].CopyFrom(inferred)
    return model
