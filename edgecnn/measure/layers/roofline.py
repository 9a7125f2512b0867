"""What share of a machine's limit a network reaches, and which limit it is.

Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model for multicore
architectures": no faster than the arithmetic allows, nor than memory delivers the operands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgecnn.artifact import LayerRecord, Manifest
from edgecnn.measure.latency.profile_engines import Latency
from edgecnn.measure.layers import peaks as machine
from edgecnn.measure.layers.peaks import Peaks

_BYTES = {"float32": 4, "float16": 2, "int8": 1}
#: What `profile` says where the limits are not known.
HOW_TO_KNOW = "how near that is to this machine's limit: edgecnn doctor --measure"


@dataclass(frozen=True)
class Roofline:
    """A network's point under the roof."""

    #: Operations, two for a multiply-add, per byte that must move.
    intensity: float
    achieved_gflops: float
    #: Of the network's precision; where layers differ, what they come to together.
    peak_gflops: float
    peak_gbps: float
    #: "arithmetic" or "memory".
    bound: str
    #: Time that the limit allows over time taken. Memory's can be passed: caches keep what fits.
    share: float
    source: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)

    def __str__(self) -> str:
        if self.bound == "arithmetic":
            reached = f"{self.achieved_gflops / 2:.3g} of {self.peak_gflops / 2:.3g} GMAC/s"
        else:
            reached = f"{self.achieved_gflops / self.intensity:.3g} of {self.peak_gbps:.3g} GB/s"
        caches = "; its values stay in the caches" if self.share > 1 and self.bound == "memory" else ""
        return (
            f"reached {self.share:.0%} of the {self.bound} limit ({reached}, {self.source});"
            f" bound by {self.bound}{caches}"
        )


def roofline(latency: Latency) -> Roofline | None:
    """Return where a measured engine stands; None if its layers or the machine's limits are not known."""
    manifest, limits = latency.engine.manifest, machine.known(latency.engine)
    if manifest is None or not manifest.layers or limits is None:
        return None
    return against(manifest, limits, latency.batch, latency.milliseconds["p50"] / 1e3)


def against(manifest: Manifest, limits: Peaks, batch: int, seconds: float) -> Roofline | None:
    """Return where a network stands that takes `seconds` for `batch` images; None if a rate is not known.

    The bytes are the least that layer after layer moves: each layer with weights reads its input and its
    weights once and writes its output once, at its precision; everything else is fused.
    """
    operations = moved = arithmetic = 0.0
    for name, layer in _weighted(manifest.layers or {}).items():
        precision = _precision(manifest, name)
        rate = limits.operations(precision)
        if rate is None:
            return None
        work = 2.0 * layer.macs * batch
        operations += work
        arithmetic += work / (rate * 1e9)
        moved += _BYTES[precision] * (layer.params + batch * (layer.reads + layer.writes))
    if not operations:
        return None
    memory = moved / (limits.bandwidth_gbs * 1e9)
    return Roofline(
        intensity=operations / moved,
        achieved_gflops=operations / seconds / 1e9,
        peak_gflops=operations / arithmetic / 1e9,
        peak_gbps=limits.bandwidth_gbs,
        bound="arithmetic" if arithmetic >= memory else "memory",
        share=max(arithmetic, memory) / seconds,
        source=limits.source,
    )


def _weighted(layers: Mapping[str, LayerRecord]) -> dict[str, LayerRecord]:
    return {name: layer for name, layer in layers.items() if layer.macs}


def _precision(manifest: Manifest, layer: str) -> str:
    left = (manifest.quantization or {}).get("float_nodes", {})
    return "float32" if layer in left else manifest.precision
