"""TensorRT-RTX: built as TensorRT is, with fewer options.

It has no version-compatible or hardware-compatible engines and no DLA, its timing caches are empty, and the
request for sparse kernels changes nothing in an engine (versions up to 1.7).
"""

from edgecnn.compile.tensorrt_builder import build

OPTIONS = frozenset({"batch", "sm", "workspace_mib"})

__all__ = ["OPTIONS", "build"]
