"""Accuracy on labelled images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import files
from edgecnn.data.folder import LabelledImages
from edgecnn.runtime.engine import Engine
from edgecnn.runtime.stream import stream


@dataclass(frozen=True)
class Accuracy:
    """Shares of images whose label is the most probable class, or among the five most probable."""

    path: Path
    data: str
    top1: float
    top5: float
    n: int
    seconds: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of top-1 (Wilson 1927, the score interval)."""
        z, n, p = 1.959964, self.n, self.top1
        centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return (centre - spread) / scale, (centre + spread) / scale

    def to_json(self) -> dict[str, Any]:
        """Return the keys that every edgecnn result uses."""
        return {
            "path": str(self.path),
            "sha256": files.sha256(self.path),
            "data": self.data,
            "top1": self.top1,
            "top5": self.top5,
            "top1_interval": list(self.interval),
            "n": self.n,
            "seconds": self.seconds,
            "throughput_ips": self.n / self.seconds,
        }


def evaluate(
    engine: Engine,
    dataset: LabelledImages,
    *,
    batch: int = 8,
    progress: Callable[[str], None] = lambda step: None,
) -> Accuracy:
    """Run every image through the engine's own preprocessing, decoded while others are inferred.

    Raises DataError naming the first image that cannot be read.
    """
    start = time.perf_counter()
    images, labels = dataset.images, np.array(dataset.labels)
    right1 = right5 = done = 0
    for logits in stream(engine, (images[row] for row in range(len(images))), batch):
        order = np.argsort(-logits, axis=1, kind="stable")
        hits = order == labels[done : done + len(logits)][:, None]
        done += len(logits)
        right1 += int(hits[:, 0].sum())
        right5 += int(hits[:, :5].any(axis=1).sum())
        progress(f"images: {10 * (10 * done // len(images))} %")
    return Accuracy(
        engine.path,
        dataset.name,
        right1 / len(images),
        right5 / len(images),
        len(images),
        time.perf_counter() - start,
    )
