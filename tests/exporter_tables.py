"""PyTorch's exporter translates the signatures of 500 operators at each export: here once in a process."""

from __future__ import annotations

import functools
import sys


def keep() -> None:
    """Let exports share the table of operators; does nothing before something was exported."""
    lazy = sys.modules.get("torch.onnx._internal._lazy_import")
    module = lazy and lazy.onnxscript_apis
    if module and module._module is not None and not hasattr(module.get_torchlib_ops, "cache_info"):
        module.get_torchlib_ops = functools.cache(module.get_torchlib_ops)
