"""Sizes that a file leaves open, in what is made of it: kept where that is proven, else said to be fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
import onnx

from edgecnn.artifact import Manifest
from edgecnn.errors import EdgecnnError
from edgecnn.parity import demand
from edgecnn.quantize.graph.free_sizes import FreeSizes, made_free
from edgecnn.quantize.graph.index import input_specs, spec_of
from edgecnn.quantize.graph.prepare import prepare
from edgecnn.quantize.reduce_precision import MIN_SQNR_DB
from edgecnn.quantize.reference import Reference, as_given


@dataclass(frozen=True)
class KeptSizes:
    """What becomes of the open sizes of a file."""

    #: None: its graph is for one size.
    free: FreeSizes | None = None
    #: Why it is, though the file is for any.
    why: str | None = None

    def open(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Return what was made of the prepared graph for as many sizes as it can be."""
        return model if self.free is None else self.free.open(model)

    def described(self, manifest: Manifest, model: onnx.ModelProto) -> Manifest:
        """Return the manifest of what was made of the prepared graph, with the sizes that are open."""
        if self.free is None:
            return manifest
        graph = self.free.open(model)
        outputs = tuple(map(spec_of, graph.graph.output))
        return replace(manifest, inputs=tuple(input_specs(graph)), outputs=outputs)

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        return [f"the file that is written is for one size of images: {self.why}"] if self.why else []

    def recorded(self) -> dict[str, Any]:
        """Return what the lineage says of it; nothing of a file that was for one size."""
        if self.free is None and self.why is None:
            return {}
        return {"sizes": self.why or "free"}


def keep(
    given: onnx.ModelProto,
    model: onnx.ModelProto,
    samples: Mapping[str, Sequence[int]],
    checks: npt.NDArray[Any],
) -> KeptSizes:
    """Find out whether a prepared graph can be for any size again, and make it so, in place.

    It is prepared for a second size, larger than the first by whole factors, and has to compute there what
    the file computes. `samples` are those of `prepare`, `checks` samples of the first size.
    """
    free = FreeSizes.of(given, model, samples)
    if not free:
        return KeptSizes()
    try:
        other = prepare(given, *free.second(model, samples))
        if not made_free(model, other):
            return KeptSizes(why="what is computed beforehand depends on it")
        larger = free.larger(checks[:1], input_specs(model))
        what = "the graph for any size"
        reference = Reference.of(as_given(given), larger, optimize=False)
        demand(reference.parity(free.open(model), what, constant=True), MIN_SQNR_DB["float32"], what)
    except EdgecnnError as error:
        return KeptSizes(why=f"at another one, {error}")
    return KeptSizes(free)
