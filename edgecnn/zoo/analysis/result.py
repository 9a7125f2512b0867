"""What is known of a network layer by layer, and the totals that follow from it. Needs no torch."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from edgecnn.image_size import Size
from edgecnn.zoo.catalog import Architecture

#: Bytes of a float32.
FLOAT = 4
#: Kind of a product of two activations.
ATTENTION = "attention"
NORMALIZATION, ACTIVATION = "normalization", "activation"
#: Kinds that rewrite each element where it stands, and that engines fuse into the layer before.
ELEMENTWISE = frozenset({NORMALIZATION, ACTIVATION})


@dataclass(frozen=True)
class Layer:
    """One operation that computes or copies. Bytes are float32's, for one image.

    `shape` is the output's, without the batch. `receptive_field` and `receptive_step` are in pixels of the
    input, the larger of height and width; infinity means the whole image, None that it is not defined
    (after attention). `moved_bytes` are read and written; `live_bytes` are all activations in memory
    while it runs.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    groups: int
    params: int
    macs: int
    receptive_field: float | None
    receptive_step: int | None
    activation_bytes: int
    moved_bytes: int
    live_bytes: int = 0

    @property
    def is_fused(self) -> bool:
        """Whether it is a normalization or an activation, which engines compute with the layer before."""
        return self.kind in ELEMENTWISE

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold; a receptive field of the whole image is "all"."""
        field = self.receptive_field
        everything = field is not None and math.isinf(field)
        return {
            "name": self.name,
            "kind": self.kind,
            "output_shape": list(self.shape),
            "kernel": list(self.kernel) or None,
            "stride": list(self.stride) or None,
            "groups": self.groups,
            "params": self.params,
            "macs": self.macs,
            "receptive_field": "all" if everything else field,
            "receptive_field_step": None if everything else self.receptive_step,
            "activation_bytes": self.activation_bytes,
            "live_bytes": self.live_bytes,
        }


@dataclass(frozen=True)
class Analysis:
    """A network's layers in the order in which they run, and its trainable parameters.

    The layers' parameters sum to `params`, less those that are only used in training.
    """

    layers: tuple[Layer, ...]
    params: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and linear layers for one image, as `cost.count` has them."""
        return sum(layer.macs for layer in self.layers if layer.kind != ATTENTION)

    @property
    def attention_macs(self) -> int:
        """Those of products of two activations, which published counts leave out."""
        return sum(layer.macs for layer in self.layers if layer.kind == ATTENTION)

    @property
    def peak_activation_bytes(self) -> int:
        """The most bytes of activations alive at once: float32, one image, the input counted.

        By the rules of `memory.live_bytes`: views share what they look at, a normalization or an
        activation works in place when its input dies there, and padding is read on the fly.
        """
        return max((layer.live_bytes for layer in self.layers), default=0)

    @property
    def peak_layer(self) -> str:
        """Name of the first layer during which memory is at its peak."""
        return max(self.layers, key=lambda layer: layer.live_bytes).name

    @property
    def arithmetic_intensity(self) -> float:
        """Operations per byte: two per multiply-accumulate, over the bytes that have to move.

        Float32, one image. Each weight is read once; each layer reads its inputs and writes its output
        once, except that normalizations and activations are taken to be fused into their neighbours.
        """
        moved = sum(layer.moved_bytes for layer in self.layers)
        weights = FLOAT * sum(layer.params for layer in self.layers)
        return 2 * (self.macs + self.attention_macs) / (moved + weights)

    @property
    def mac_share(self) -> dict[str, float]:
        """Kind of layer: its share of all multiply-accumulates, attention's too; the largest first."""
        totals: Counter[str] = Counter()
        for layer in self.layers:
            totals[layer.kind] += layer.macs
        whole = sum(totals.values())
        return {kind: macs / whole for kind, macs in totals.most_common() if macs}

    @property
    def receptive_field(self) -> int | None:
        """The field of the last map before global pooling or a flat linear layer; None if not defined."""
        local = [
            layer.receptive_field
            for layer in self.layers
            if layer.receptive_field is None or math.isfinite(layer.receptive_field)
        ]
        if not local or local[-1] is None:
            return None
        return int(max(field for field in local if field is not None))

    def to_json(self) -> dict[str, Any]:
        """Return the totals, and the layers."""
        return {
            "params": self.params,
            "macs": self.macs,
            "attention_macs": self.attention_macs,
            "peak_activation_bytes": self.peak_activation_bytes,
            "arithmetic_intensity": self.arithmetic_intensity,
            "receptive_field": self.receptive_field,
            "mac_share": self.mac_share,
            "layers": [layer.to_json() for layer in self.layers],
        }


@dataclass(frozen=True)
class Study:
    """A network of the catalogue at a width and a resolution, taken apart."""

    row: Architecture
    alpha: float
    resolution: Size
    analysis: Analysis

    def to_json(self) -> dict[str, Any]:
        """Return what was studied, the totals, and the layers."""
        return {
            "architecture": self.row.name,
            "year": self.row.year,
            "alpha": self.alpha,
            "resolution": self.resolution.said,
            **self.analysis.to_json(),
        }
