"""YAML as its version 1.2 reads plain scalars, which is as people mean them.

PyYAML follows version 1.1, where `no` is false, `2:4` is 124, `0123` is 83 and `1e-3` is text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """A safe loader with the core schema (YAML 1.2.2, section 10.3.2), less octals, infinities and NaN."""


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


def load(text: str) -> Any:
    """Return what a document says. Raises yaml.YAMLError."""
    try:
        return yaml.load(text, _Loader)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists without end
        raise yaml.YAMLError(f"what it says cannot be read: {error}") from error
