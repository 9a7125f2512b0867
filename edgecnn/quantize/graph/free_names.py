"""Names for what is added to a graph: a file from elsewhere may use any name, ours included."""

from __future__ import annotations

from collections.abc import Iterable

import onnx


class Names:
    """The names that are taken, to which each new one is added."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    @classmethod
    def of_tensors(cls, model: onnx.ModelProto) -> Names:
        """Return the names of a model's tensors."""
        graph = model.graph
        values = (value.name for value in (*graph.input, *graph.output, *graph.initializer))
        return cls([*values, *(name for node in graph.node for name in (*node.input, *node.output))])

    @classmethod
    def of_nodes(cls, model: onnx.ModelProto) -> Names:
        """Return the names of a model's nodes."""
        return cls(node.name for node in model.graph.node)

    def fresh(self, name: str) -> str:
        """Return `name`, with underscores at its end where it is taken; from then on it is."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def is_ours(name: str, expected: str) -> bool:
    """Return whether a name is what `Names.fresh` can have made of an expected one."""
    return name.startswith(expected) and not name[len(expected) :].strip("_")
