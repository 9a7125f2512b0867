"""How long a network takes on this machine, next to the one that it was pruned from."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from torch import Tensor, nn

from edgecnn import files
from edgecnn.export.trace import trace
from edgecnn.leftovers import TemporaryFolder
from edgecnn.measure.latency.profile_engines import profile
from edgecnn.progress import Progress, silent
from edgecnn.quantize.graph import simplify
from edgecnn.quantize.quantizer import quantize
from edgecnn.runtime import load
from edgecnn.runtime.engine import Engine
from edgecnn.schemes import Scheme
from edgecnn.zoo import reparameterize
from edgecnn.zoo.network_outputs import LOGITS

OPSET = 18
#: Comparisons per measurement, each of which warms up anew: their differences are the measurement's spread.
COMPARISONS = 3


@dataclass(frozen=True)
class Timing:
    """One inference of a network and of the reference, measured in turns."""

    #: Medians, in milliseconds.
    milliseconds: float
    reference: float
    #: Medians of the network over medians of the reference, one for each comparison.
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Latency as a share of the reference's."""
        return statistics.median(self.ratios)

    def to_json(self) -> dict[str, Any]:
        """Return what the lineage keeps."""
        return {
            "latency_ms": round(self.milliseconds, 4),
            "reference_ms": round(self.reference, 4),
            "latency_ratio": round(self.ratio, 4),
            "latency_ratios": [round(ratio, 4) for ratio in self.ratios],
        }


class Timer:
    """Times networks against one reference, in ONNX Runtime on this machine.

    `example` is an input (N, C, H, W), of which one image is inferred at a time. With a `scheme` both
    networks are int8, quantized with `images` (N, C, H, W): good enough for timing, which does not depend on
    values. `seconds` is the time that each network runs in one measurement. Usable in a `with` statement;
    its files are gone after. `outputs` and `fold` are those of `trace`.
    """

    def __init__(
        self,
        reference: nn.Module,
        example: Tensor,
        *,
        scheme: Scheme | None = None,
        images: npt.NDArray[np.float32] | None = None,
        seconds: float = 3.0,
        threads: int = 0,
        progress: Progress = silent,
        outputs: Sequence[str] = (LOGITS,),
        fold: bool = True,
    ) -> None:
        self._folder = TemporaryFolder()
        self._example, self._scheme, self._images = example, scheme, images
        self._seconds, self._threads, self._progress = seconds, threads, progress
        self._outputs, self._fold = outputs, fold
        self._reference = self._engine(reference, "reference")

    def __call__(self, network: nn.Module) -> Timing:
        """Export, load and measure a network; raises EngineError or ParityError if that cannot be done."""
        with self._engine(network, "pruned") as engine:
            pairs = []
            for _ in range(COMPARISONS):
                pair = profile(
                    [engine, self._reference], seconds=self._seconds / COMPARISONS, progress=self._progress
                )
                pairs.append([latency.milliseconds["p50"] for latency in pair])
        ours, theirs = zip(*pairs, strict=True)
        ratios = tuple(a / b for a, b in pairs)
        return Timing(statistics.median(ours), statistics.median(theirs), ratios)

    def _engine(self, network: nn.Module, name: str) -> Engine:
        self._progress(f"export the {name} network")
        training = network.training
        model = simplify.simplify(self._traced(network.eval()))
        network.train(training)
        if self._scheme is not None:
            images = self._example.numpy() if self._images is None else self._images
            model = quantize(model, [images[i : i + 1] for i in range(len(images))], self._scheme).model
        path = Path(self._folder.name) / f"{name}.onnx"
        files.write_atomic(path, model.SerializeToString())
        return load(path, device="cpu" if self._scheme else "auto", threads=self._threads)

    def _traced(self, network: nn.Module) -> onnx.ModelProto:
        network = reparameterize.folded_copy(network)  # what an export runs
        return trace(network, self._example, opset=OPSET, batch=1, outputs=self._outputs, fold=self._fold)

    def __enter__(self) -> Timer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reference.close()
        self._folder.__exit__(kind, error, trace)
