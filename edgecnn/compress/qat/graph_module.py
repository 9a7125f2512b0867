"""An ONNX graph as a PyTorch module: the same nodes, differentiable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from edgecnn.compress.qat.graph_inputs import GraphInputs
from edgecnn.compress.qat.operators import Operator, operator
from edgecnn.quantize.graph.index import Graph, input_specs
from edgecnn.quantize.graph.readouts import readouts

_ROLES = {1: "weight", 2: "bias"}
#: Operators whose constants are trained: input and what it is called.
_TRAINED = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization"), _ROLES),
    "PRelu": {1: "weight"},
}


@dataclass(frozen=True)
class _Step:
    """One node, ready to run."""

    run: Operator
    inputs: list[str]
    outputs: list[str]
    #: Tensors that nothing after it reads.
    last_used: list[str]


class GraphModule(nn.Module):
    """Computes what an ONNX model of opset 18 or later computes: images (N, C, H, W) to its outputs.

    The constants of weighted and normalizing layers are parameters, NODE/weight and NODE/bias with "/" for
    "." in the node's name, one for each node even where several read one constant (as simplifiers make it
    with zeros). Other arrays of floats are buffers. Batch normalization uses the statistics that it has, in
    training, too.

    Of an output behind a softmax or an argmax, the logits are what enters it. Every image input gets a view
    of the images; `constants` are the values of the others by name.

    `modules` gives nodes that a module computes in place of their operator, from those inputs that are
    not constant. Raises InvalidValueError for an operator that is not in the table of `operators`, and for an
    input that is no image and has no value.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        modules: Mapping[str, nn.Module] | None = None,
        constants: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        graph = Graph(model)
        self.inputs = GraphInputs(input_specs(model), constants or {})
        #: Name of an output: the tensor that stands for it.
        self._outputs = {item.name: item.tensor for item in readouts(model)}
        kept = set(self._outputs.values())
        modules = modules or {}
        #: Node and position of an input: the parameter that it reads.
        self.trained: dict[tuple[str, int], str] = {}
        #: What steps read that is neither parameter nor buffer: numbers, shapes, axes, indices.
        self._host: dict[str, Any] = {"": None}
        self._stored: dict[str, str] = {}
        self._steps: list[_Step] = []
        nodes = _needed(graph, kept)
        last_user = {name: node.name for node in nodes for name in node.input}
        for node in nodes:
            inputs = list(node.input)
            while inputs and not inputs[-1]:
                inputs.pop()
            variable = [name for name in inputs if name and not graph.is_constant(name)]
            if node.name in modules:
                run: Operator = modules[node.name]
                inputs = variable
            else:
                run = operator(node)
                for position, name in enumerate(inputs):
                    if graph.is_constant(name):
                        role = _TRAINED.get(node.op_type, {}).get(position)
                        inputs[position] = self._keep(graph, name, node, position, role)
            dead = [name for name in dict.fromkeys(variable) if last_user[name] == node.name]
            outputs = [name for name in node.output if name]
            self._steps.append(_Step(run, inputs, outputs, [name for name in dead if name not in kept]))
        # Registered, so that their parameters are found; a module for several nodes is one module.
        self.replaced = nn.ModuleList(dict.fromkeys(modules.values()))

    def _keep(self, graph: Graph, name: str, node: onnx.NodeProto, position: int, role: str | None) -> str:
        """Store a constant in the way that fits it, and return what the step reads in its place."""
        value = graph.constant(name)
        tensor = torch.from_numpy(np.array(value))
        if value.ndim == 0:
            self._host[name] = value.item()
        elif not (tensor.is_floating_point() or tensor.dtype == torch.bool):
            self._host[name] = tensor.long()
        elif role is not None:
            name = f"{node.name}/{role}"
            key = self.trained[node.name, position] = self._stored[name] = self._free(name)
            self.register_parameter(key, nn.Parameter(tensor))
        elif name not in self._stored:
            self._stored[name] = self._free(name)
            self.register_buffer(self._stored[name], tensor)
        return name

    def _free(self, name: str) -> str:
        key = name.replace(".", "/")
        while hasattr(self, key):
            key += "_"
        return key

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the output for images, (N, values); of several each by its name, in its own shape."""
        values: dict[str, Any] = dict(self.inputs(images))
        for step in self._steps:
            results = step.run(*[self._value(values, name) for name in step.inputs])
            if len(step.outputs) == 1 and isinstance(results, Tensor):
                values[step.outputs[0]] = results
            else:
                values.update(zip(step.outputs, results, strict=True))
            for name in step.last_used:
                del values[name]
        found: dict[str, Tensor] = {name: values[tensor] for name, tensor in self._outputs.items()}
        return found if len(found) > 1 else next(iter(found.values())).flatten(1)

    def _value(self, values: Mapping[str, Any], name: str) -> Any:
        if name in values:
            return values[name]
        return getattr(self, self._stored[name]) if name in self._stored else self._host[name]


def _needed(graph: Graph, tensors: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes by which tensors are computed, but for constants: none that follow logits."""
    wanted, found = set(tensors), []
    for node in reversed(graph.nodes):
        if node.op_type != "Constant" and wanted.intersection(node.output):
            wanted.update(node.input)
            found.append(node)
    return found[::-1]
