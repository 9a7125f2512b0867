"""YAML from strangers."""

import sys

import pytest
import yaml

from edgecnn import core_yaml


def test_how_deep_a_document_may_be_does_not_depend_on_pythons_limit():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        with pytest.raises(yaml.YAMLError, match="too deeply"):
            core_yaml.load("[" * 1500 + "]" * 1500)
    finally:
        sys.setrecursionlimit(before)
    assert core_yaml.load("a: [1, {b: no}]") == {"a": [1, {"b": "no"}]}
