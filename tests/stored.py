"""Results as the store gives them back."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from edgecnn.measure.store import Result

CONDITIONS = {"cpu": "a CPU", "threads": 1, "batch": 1, "load": 0.5, "governor": None}


def sha(name: str) -> str:
    """Return what stands for the SHA-256 of the file `name`."""
    return name.encode().hex()[:64].ljust(64, "0")


def profiled(name: str, p50: float = 5.0, *, time: float = 0.0, host: str = "here", **values: Any) -> Result:
    """Return a profile whose samples rise evenly from 0.9 to 1.2 times `p50`."""
    samples = (np.linspace(0.9, 1.2, 101) * p50).astype("<f4")
    found = {
        "path": f"{name}.onnx",
        "sha256": sha(name),
        "bytes": 1_500_000,
        "params": 1_000_000,
        "macs": 50_000_000,
        "architecture": name,
        "precision": "float32",
        "backend": "onnxruntime",
        "device": "cpu",
        "parity": None,
        "latency_ms": {"p50": p50, "p90": 1.1 * p50, "p99": 1.19 * p50},
        "throughput_ips": 1e3 / p50,
        "conditions": CONDITIONS,
        "lineage": [],
        **values,
    }
    packed = zlib.compress(samples.tobytes())
    return Result(time, "profile", f"/m/{name}.onnx", sha(name), host, found, packed)


def evaluated(name: str, top1: float, *, time: float = 0.0, data: str = "digits", **values: Any) -> Result:
    """Return an evaluation on `data`."""
    found = {
        "path": f"{name}.onnx",
        "sha256": sha(name),
        "data": data,
        "top1": top1,
        "top5": 1.0,
        "top1_interval": [top1 - 0.01, top1 + 0.01],
        "n": 898,
        "seconds": 1.0,
        "throughput_ips": 898.0,
        "architecture": name,
        "precision": "float32",
        "backend": "onnxruntime",
        "device": "cpu",
        **values,
    }
    return Result(time, "eval", f"/m/{name}.onnx", sha(name), "here", found)


def compared(name: str, baseline: str, ratio: float, *, time: float = 0.0, **values: Any) -> Result:
    """Return a comparison of two files, the baseline at 10 ms, with an interval 2 % to either side."""
    found = {
        "path": f"{name}.onnx",
        "sha256": sha(name),
        "backend": "onnxruntime",
        "latency_ms": {"p50": 10.0 * ratio},
        "ratio": {"value": ratio, "low": ratio * 0.98, "high": ratio * 1.02, "pairs": 20, "loads": 6},
        "verdict": "faster" if ratio < 1 else "slower",
        "baseline": {
            "path": f"{baseline}.onnx",
            "sha256": sha(baseline),
            "backend": "onnxruntime",
            "latency_ms": {"p50": 10.0},
        },
        "unlike": [],
        "conditions": CONDITIONS,
        "n": 20,
        **values,
    }
    return Result(time, "compare", f"/m/{name}.onnx", sha(name), "here", found)
