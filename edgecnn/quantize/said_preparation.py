"""How images become inputs, and where that is known from: options, the manifest, the graph, or nowhere."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.errors import InvalidValueError
from edgecnn.quantize import assumed_preprocessing
from edgecnn.quantize.graph.own_preparation import OwnPreparation
from edgecnn.quantize.quantize_request import QuantizeRequest
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.samples import image_sizes

#: How the preparation is known that nobody said.
ASSUMED = "assumption"


@dataclass(frozen=True)
class Said:
    """How images become inputs, and where that is known from."""

    preprocessing: Preprocessing
    by: str


def said_preparation(
    request: QuantizeRequest,
    known: Manifest | None,
    image: TensorSpec,
    own: OwnPreparation | None,
    notes: list[str],
) -> Said:
    """Return how images become inputs, fitted to the input's shape, and where that is known from."""
    height, width, channels = image_sizes(image, None, request.source.name)
    said, chosen = request.preparation, request.preprocessing
    said_by = said.said_by or (chosen and "`preprocessing`")
    if chosen is not None and chosen.channels != channels:
        raise InvalidValueError(
            f"{request.source} takes {channels} channels, the mean and deviation {chosen.channels}",
            hint="give `mean` and `std` one number per channel",
        )
    if chosen is None and known is not None and known.preprocessing:
        chosen = Preprocessing.from_json(known.preprocessing)
        said_by = said_by or "the file's manifest"
        if not said.says:
            chosen.demand_input(image.shape, image.layout, request.source.name)
    if said_by is None and own is not None and own.preprocessing is not None:
        chosen, said_by = own.preprocessing, "the graph, which normalizes them itself"
        notes.append(assumed_preprocessing.note_of_graph(own))
    if said_by is None:
        notes.append(assumed_preprocessing.note())
    applied = said.applied(chosen, channels, (height, width), str(request.source))
    if own is not None and own.contradicts(applied):
        notes.append(
            f"the graph itself {own}: `pixels` {own.pixels} without `mean` and `std` would suit that, and"
            f" {said_by or 'what is assumed'} prepares its images otherwise"
        )
    return Said(applied, said_by or ASSUMED)
