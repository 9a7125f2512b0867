"""Which nodes a user leaves in float: by name, by operator, or by the region between two tensors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import onnx

from edgecnn.errors import InvalidValueError
from edgecnn.quantize.graph.index import Graph
from edgecnn.registry import suggest

_OPERATOR, _REGION = "op:", ".."
#: The tensors at one end of a node.
_Ends = Callable[[onnx.NodeProto], Iterable[str]]
#: Names that an error shows where none is near.
_SHOWN = 5


@dataclass(frozen=True)
class ChosenNodes:
    """Patterns of nodes; each must match one at least. A pattern is one of

    - `model.22/*`: names of nodes, or of tensors that they make, with the wildcards of a shell;
    - `op:Softmax`: every node of an operator, likewise with wildcards;
    - `A..B`: what lies between the tensors A and B: reads A, directly or not, and leads to B. Without B it is
      all that A leads to, without A all that leads to B.
    """

    #: What stays float.
    exclude: tuple[str, ...] = ()
    #: If there are any, all that these do not match stays float.
    only: tuple[str, ...] = ()

    def float_nodes(self, graph: Graph) -> dict[str, str]:
        """Return the nodes that stay float, and the rule that says so.

        Raises InvalidValueError for a pattern that matches nothing.
        """
        excluded = {name: pattern for pattern in self.exclude for name in matching(graph, pattern, "exclude")}
        chosen = {name for pattern in self.only for name in matching(graph, pattern, "only")}
        rules = {name: f"excluded: {pattern}" for name, pattern in excluded.items()}
        if self.only:
            outside = f"not chosen by {', '.join(self.only)}"
            rules = {
                **{node.name: outside for node in graph.nodes if node.name not in chosen},
                **rules,
            }
        return rules

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest keeps; empty where nothing is chosen."""
        patterns = {"exclude": self.exclude, "only": self.only}
        return {key: list(of) for key, of in patterns.items() if of}

    @classmethod
    def from_json(cls, value: Any) -> ChosenNodes:
        """Return what `to_json` wrote into a manifest's `quantization`."""
        return cls(tuple(value.get("exclude", ())), tuple(value.get("only", ())))


def matching(graph: Graph, pattern: str, field: str = "pattern") -> list[str]:
    """Return the names of the nodes that a pattern matches, in the graph's order.

    Raises InvalidValueError, with what is near, if there is none; `field` is what holds the pattern.
    """
    names = {name for node in graph.nodes for name in (node.name, *node.output)}
    if pattern.startswith(_OPERATOR) and pattern not in names:
        return _operators(graph, pattern, field)
    if _REGION in pattern and pattern not in names:
        return _region(graph, pattern, field)
    found = [
        node.name
        for node in graph.nodes
        if any(name == pattern or fnmatchcase(name, pattern) for name in (node.name, *node.output))
    ]
    if not found:
        raise InvalidValueError(f"`{field}` {pattern!r} matches no node", hint=_near(pattern, names))
    return found


def _operators(graph: Graph, pattern: str, field: str) -> list[str]:
    kind = pattern.removeprefix(_OPERATOR)
    found = [node.name for node in graph.nodes if fnmatchcase(node.op_type, kind)]
    if not found:
        known = sorted({node.op_type for node in graph.nodes})
        raise InvalidValueError(
            f"`{field}` {pattern!r}: the network has no {kind}", hint=suggest(kind, known)
        )
    return found


def _region(graph: Graph, pattern: str, field: str) -> list[str]:
    first, _, last = pattern.partition(_REGION)
    for tensor in filter(None, (first, last)):
        known = [*graph.inputs, *(name for node in graph.nodes for name in node.output)]
        if tensor not in known:
            node = next((node for node in graph.nodes if node.name == tensor), None)
            hint = f"the node of that name makes {node.output[0]!r}" if node else _near(tensor, known)
            raise InvalidValueError(f"`{field}` {pattern!r}: {tensor!r} is no tensor", hint=hint)
    found = _between(graph, first, last)
    if not found:
        turned = f"{last}{_REGION}{first}"
        hint = (
            f"the other way round: {turned!r}"
            if _between(graph, last, first)
            else "neither leads to the other"
        )
        raise InvalidValueError(f"`{field}` {pattern!r}: no node lies between", hint=hint)
    return found


def _between(graph: Graph, first: str, last: str) -> list[str]:
    """Return the nodes that read one tensor, directly or not, and lead to the other; "" is no bound."""
    nodes = graph.nodes
    after = _reached(nodes, first, lambda node: node.input, lambda node: node.output)
    before = _reached(nodes[::-1], last, lambda node: node.output, lambda node: node.input)
    return [node.name for node in nodes if node.name in after and node.name in before]


def _reached(nodes: list[onnx.NodeProto], start: str, reads: _Ends, makes: _Ends) -> set[str]:
    """Return the names of the nodes that a tensor leads to, each by those before it; "" leads to all."""
    tensors, found = {start}, set()
    for node in nodes:
        if not start or tensors.intersection(reads(node)):
            found.add(node.name)
            tensors.update(name for name in makes(node) if name)
    return found


def _near(pattern: str, known: Iterable[str]) -> str:
    """Return names that are like a pattern, of what may be very many."""
    names, bare = sorted(filter(None, set(known))), pattern.strip("*")
    near = [name for name in names if bare and bare.lower() in name.lower()]
    near = near or difflib.get_close_matches(bare, names, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(near[:_SHOWN]) + "?"
    return f"there are {', '.join(names[:_SHOWN])} and so on"
