"""What a quantization gives: an int8 model and how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from edgecnn.quantize.effort_levels import Recipe
from edgecnn.quantize.placement.chosen_nodes import ChosenNodes
from edgecnn.quantize.placement.integer_weights import QuantizedWeight
from edgecnn.quantize.placement.place import Placement
from edgecnn.quantize.ranges.range_methods import Range
from edgecnn.schemes import Scheme


@dataclass(frozen=True)
class Quantized:
    """An int8 model and how it came about."""

    model: onnx.ModelProto
    #: The float model that was quantized, equalized if the recipe says so; and with the corrected biases.
    base: onnx.ModelProto
    float_model: onnx.ModelProto
    scheme: Scheme
    recipe: Recipe
    #: Range method, and the tensors for which another one was chosen.
    method: str
    other_methods: dict[str, str]
    placement: Placement
    #: Tensor: scheme: (low, high). Every scheme's ranges are kept, so that Q/DQ for another target can
    #: be written without images.
    ranges: dict[str, dict[str, Range]]
    #: Integer weights by node, where they are not simply the nearest.
    weights: dict[str, QuantizedWeight]
    #: Share of the multiply-accumulates that are done on int8 operands.
    int8_mac_share: float
    #: What the user left in float.
    chosen: ChosenNodes = field(default_factory=ChosenNodes)
    #: Layers for whose full repair there was no time.
    out_of_time: Sequence[str] = ()
    #: Images that repaired, where there was no time for all.
    fewer_images: int | None = None
    #: Images that calibrated, and whether there was no time for all.
    calibrated: int = 0
    cut_short: bool = False

    @property
    def stopped(self) -> bool:
        """Whether anything was left out for want of time."""
        return bool(self.out_of_time) or self.cut_short or self.fewer_images is not None

    @property
    def float_nodes(self) -> dict[str, str]:
        """Node that stays float: the rule that says so."""
        return self.placement.float_nodes

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest keeps."""
        return {
            "scheme": self.scheme.name,
            "weight_bits": self.scheme.weight_bits,
            "recipe": self.recipe.name,
            "ranges_by": self.method,
            **({"ranges_by_tensor": self.other_methods} if self.other_methods else {}),
            "ranges": {
                tensor: {scheme: list(ends) for scheme, ends in of.items()}
                for tensor, of in self.ranges.items()
            },
            **self.chosen.to_json(),
            **({"own_scales": self.placement.own_scales} if self.placement.own_scales else {}),
            "float_nodes": self.float_nodes,
            **({"out_of_time": list(self.out_of_time)} if self.out_of_time else {}),
            "int8_mac_share": self.int8_mac_share,
        }
