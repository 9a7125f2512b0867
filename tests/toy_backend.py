"""A backend from outside: ONNX's own evaluator in Python, with everything that a row can name."""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from edgecnn.artifact import TensorSpec
from edgecnn.backends import Backend
from edgecnn.compile.builders import Built
from edgecnn.measure.layers.layer_times import Kernel
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.engine_inputs import image_layout

#: What its files begin with, so that no other library takes one.
MAGIC = b"TOY1"


class ToyEngine(Engine):
    backend, device = "toy", "cpu"

    def __init__(self, path, manifest, *, device="auto", threads=0):
        model = onnx.load_from_string(path.read_bytes().removeprefix(MAGIC))
        self.threads = threads
        self.evaluator = ReferenceEvaluator(model)
        (given,), (logits,) = model.graph.input, model.graph.output
        shape, out = (
            tuple(size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim)
            for value in (given, logits)
        )
        spec = TensorSpec(given.name, shape, "float32", image_layout(shape))
        super().__init__(path, manifest, [spec], [TensorSpec(logits.name, out, "float32", "NC")])

    def _infer(self, inputs):
        return self.evaluator.run(None, {self.input.name: inputs[0]})


def build(source, request, progress):
    progress("copy")
    return Built(
        files={".toy": MAGIC + source.path.read_bytes()},
        needs={"Toy": (onnx.__version__,)},
        built_on={},
        flags={"threads": request.threads},
    )


class ToyProfiler:
    """Runs node by node, and looks at the clock between them."""

    def __init__(self, engine):
        self.engine, self.seconds, self.names = engine, defaultdict(list), {}

    def run(self, array):
        evaluator = self.engine.evaluator
        values = {**evaluator.rt_inits_, self.engine.input.name: array}
        for node in evaluator.rt_nodes_:
            start = time.perf_counter()
            values.update(zip(node.output, node.run(*(values[name] for name in node.input)), strict=True))
            self.seconds[node.output[0]].append(time.perf_counter() - start)
            self.names[node.output[0]] = node.onnx_node.op_type

    def kernels(self):
        return [Kernel((name,), self.names[name], np.array(spent)) for name, spent in self.seconds.items()]

    def close(self):
        self.seconds.clear()


def probe():
    return f"evaluates with numpy {np.__version__}"


ROW = Backend(
    name="toy",
    title="Toy",
    aliases=("plaything",),
    suffixes=(".toy",),
    library="onnx",
    packages=("onnx",),
    engine="toy_backend:ToyEngine",
    builder="toy_backend:build",
    options=frozenset({"threads"}),
    profilers={"cpu": "toy_backend:ToyProfiler"},
    probe="toy_backend:probe",
)
