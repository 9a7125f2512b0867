"""Which library it is that a result names."""

from importlib import metadata

import onnxruntime

from edgecnn.backends import ONNXRUNTIME
from edgecnn.runtime import compatibility


def test_of_two_packages_that_bring_one_library_the_one_that_is_imported_counts(monkeypatch):
    versions = {"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.31.9"}
    monkeypatch.setattr(metadata, "version", versions.__getitem__)
    monkeypatch.setattr(onnxruntime, "__version__", "1.31.9")
    assert compatibility.library_version(ONNXRUNTIME) == "1.31.9"
