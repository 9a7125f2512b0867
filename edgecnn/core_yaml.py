"""YAML as its version 1.2 reads plain scalars, which is as people mean them.

PyYAML follows version 1.1, where `no` is false, `2:4` is 124, `0123` is 83 and `1e-3` is text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """A safe loader with the core schema (YAML 1.2.2, section 10.3.2), less octals, infinities and NaN.

    It counts how deeply a document is nested: Python's own limit is another one in each process.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node. Raises yaml.YAMLError for one that lies deeper than `MAX_DEPTH`."""
        if self._depth == MAX_DEPTH:
            raise yaml.YAMLError("it is nested too deeply")
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}


for _tag, _pattern, _first in (
    ("null", r"(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)$", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$",
        list("-+.0123456789"),
    ),
    ("merge", r"<<$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


#: Most values that a document may come to when every alias is written out: aliases of aliases multiply.
MAX_VALUES = 10_000
#: Most sequences and mappings within each other.
MAX_DEPTH = 64


def load(text: str) -> Any:
    """Return what a document says. Raises yaml.YAMLError."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > MAX_VALUES:
            raise yaml.YAMLError(f"it says more than {MAX_VALUES} values, aliases written out")
        return loader.construct_document(node)
    except ValueError as error:  # a number of thousands of digits
        raise yaml.YAMLError(f"what it says cannot be read: {error}") from error
    finally:
        loader.dispose()


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node comes to, or more than allowed; that is what one in itself comes to."""
    if id(node) not in known:
        known[id(node)] = MAX_VALUES + 1
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        known[id(node)] = min(MAX_VALUES + 1, 1 + sum(_values(part, known) for part in parts))
    return known[id(node)]
