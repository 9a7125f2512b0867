"""The one way to change a graph: nodes in place of others, constants under free names, none left unread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgecnn.quantize.graph.free_names import Names
from edgecnn.quantize.graph.index import Graph


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that can be changed."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result


def replace_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Put these nodes, some of them perhaps the graph's own, in place of a graph's nodes."""
    # Taking a node out of the graph frees it: copies first.
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def drop_unread(model: onnx.ModelProto) -> None:
    """Drop the constants that no node reads and that are no output of the graph."""
    read = {name for node in model.graph.node for name in node.input}
    read |= {value.name for value in model.graph.output}
    for position in reversed(range(len(model.graph.initializer))):
        if model.graph.initializer[position].name not in read:
            del model.graph.initializer[position]


class Editor:
    """Changes the constants that a model's nodes read, in place; its names are free, whatever a file uses.

    `graph` is the index of the nodes as they were; of constants it knows the new ones, too.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = Graph(model)
        self.tensors, self.nodes = Names.of_tensors(model), Names.of_nodes(model)
        self._readers = Counter(name for node in self.graph.nodes for name in node.input)
        self._readers.update(self.graph.outputs)

    def add_constant(self, name: str, value: npt.ArrayLike) -> str:
        """Add an initializer; return its name, which is another than `name` where that one is taken."""
        name = self.tensors.fresh(name)
        self.graph.add_constant(numpy_helper.from_array(np.asarray(value), name))
        return name

    def set_constant(self, node: onnx.NodeProto, position: int, name: str, value: npt.ArrayLike) -> None:
        """Give a node another value at a position of its inputs.

        A constant that others read as well stays as it is for them: the node gets one of its own, called
        `name` where that is free. So does a node that reads nothing there yet.
        """
        while len(node.input) <= position:
            node.input.append("")
        old = node.input[position]
        if old and self._readers[old] == 1:
            self.graph.set_constant(old, np.asarray(value))
            return
        self._readers[old] -= 1
        node.input[position] = self.add_constant(name, value)
        self._readers[node.input[position]] = 1
