"""What a model that is not written yet gives for images, at every output that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, inliner

from edgecnn.budget import Budget
from edgecnn.errors import ArtifactError, InvalidValueError, ParityError
from edgecnn.parity import CLASS_SCORES, SCORE, Output, Parity, compare_outputs
from edgecnn.quantize.graph import run_batches, shapes
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph
from edgecnn.quantize.graph.readouts import Readout, readout_of, readouts
from edgecnn.runtime.ort_engine import open_session

Array = npt.NDArray[Any]


class Network:
    """A model that is opened for its readouts."""

    def __init__(self, model: onnx.ModelProto, *, optimize: bool = True) -> None:
        """Open a model; without `optimize` each node is computed as it stands in the graph."""
        self.readouts = readouts(model)
        self._open(with_outputs(model, self.readouts), optimize=optimize)

    @classmethod
    def rewritten(cls, model: onnx.ModelProto, known: list[Readout]) -> Network:
        """Open a model as its nodes stand there, for readouts that are known."""
        network = cls.__new__(cls)
        network.readouts = known
        network._open(with_outputs(model, known), optimize=False)
        return network

    def _open(self, model: onnx.ModelProto, *, optimize: bool) -> None:
        self._session = open_session(model.SerializeToString(), optimize=optimize)

    def __call__(self, images: Array, more: Mapping[str, Array] = {}) -> list[Output]:
        """Return outputs for images, (N, C, H, W); `more` are the values of further inputs.

        An output that has no axis for the images has one row for each inference instead of each image. Left
        out is one whose shape depends on what is seen, as that of boxes that were picked does.
        """
        rows = run_batches.run(self._session, [readout.tensor for readout in self.readouts], images, more)
        return [
            Output(readout.name, _without_ones(values), readout.threshold)
            for readout, values in zip(self.readouts, rows, strict=True)
            if values is not None
        ]


def _without_ones(values: Array) -> Array:
    """Return (N, C, 1, 1) as (N, C): scores that were pooled, which a rewritten graph may have flattened."""
    while values.ndim > 2 and values.shape[-1] == 1:
        values = values[..., 0]
    return values


def with_outputs(model: onnx.ModelProto, wanted: list[Readout]) -> onnx.ModelProto:
    """Return a model that also gives what its readouts are compared by."""
    missing = [item.tensor for item in wanted if item.tensor not in Graph(model).outputs]
    if not missing:
        return model
    result = copy_of(model)
    result.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in missing)
    return result


@dataclass(frozen=True)
class Reference:
    """What other forms of a network are compared with: its outputs for some images."""

    outputs: list[Output]
    #: (N, C, H, W), or (N, H, W, C) of a model that takes frames.
    images: Array

    @classmethod
    def of(cls, model: onnx.ModelProto, images: Array, *, optimize: bool = True) -> Reference:
        """Run a model; raises ArtifactError if none of its outputs can be compared.

        Without `optimize` each node is computed as it stands in the graph.
        """
        outputs = Network(model, optimize=optimize)(images)
        if not outputs:
            raise ArtifactError(
                "the shape of every output depends on the image, so nothing can be compared",
                hint="export the network without picking boxes at its end",
            )
        if all(len(item.values) != len(images) for item in outputs):
            names = ", ".join(repr(item.name) for item in outputs)
            raise ArtifactError(
                f"output {names} has no axis for the images of a batch",
                hint="export the network so that each output holds one entry per image",
            )
        return cls(outputs, images)

    def first(self, count: int) -> Reference:
        """Return the reference of so many of the images; of all, where an output has no row for each."""
        if any(len(item.values) != len(self.images) for item in self.outputs):
            return self
        outputs = [replace(item, values=item.values[:count]) for item in self.outputs]
        return Reference(outputs, self.images[:count])

    def not_compared(self, model: onnx.ModelProto) -> list[str]:
        """Return the names of a model's outputs that nothing here stands for."""
        names = {item.name for item in self.outputs}
        tensors = {item.tensor for item in readouts(model) if item.name in names}
        graph = Graph(model)
        found = {value.name: readout_of(graph, value) for value in model.graph.output}
        return [name for name, item in found.items() if item is None or item.tensor not in tensors]

    def check_budget(self, budget: Budget) -> None:
        """Raise what keeps an agreement that is asked for from being measured.

        InvalidValueError if no output decides anything, ParityError if a score decides the same for all
        images.
        """
        if budget.min_agreement is None:
            return
        deciding = [(item, found) for item in self.outputs if (found := item.decisions()) is not None]
        if not deciding:
            raise InvalidValueError(
                "no output of the network is class scores or a single score, so no agreement can be asked",
                hint="give `min_sqnr` in place of `min_agreement`",
            )
        for item, decisions in deciding:
            if item.kind == SCORE and len(np.unique(decisions)) == 1:
                raise ParityError(
                    f"all {len(decisions)} images have a score on one side of {item.threshold:g} at output"
                    f" {item.name!r}, so that int8 keeps it there would prove nothing",
                    hint="give images of both kinds (`calib` FOLDER), or `min_sqnr`",
                )

    def parity(
        self, model: onnx.ModelProto, what: str, *, images: Array | None = None, constant: bool = True
    ) -> Parity:
        """Return how near a model of the same outputs is; `images` if it takes them in another form.

        Raises ParityError as `parity.compare_outputs`.
        """
        outputs = Network(model)(self.images if images is None else images)
        return self.parity_of(outputs, what, constant=constant)

    def parity_of(self, outputs: list[Output], what: str, *, constant: bool = True) -> Parity:
        """Return how near outputs for the same images are."""
        by_name = {item.name: item for item in outputs}
        missing = [item.name for item in self.outputs if item.name not in by_name]
        if missing:
            raise ParityError(f"{what} does not give {', '.join(map(repr, missing))} as its reference does")
        return compare_outputs(
            self.outputs, [by_name[item.name] for item in self.outputs], what, constant=constant
        )


def as_given(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a foreign model that ONNX Runtime computes as it is, without the shapes it declares.

    Its own functions are written out, so that its last operators can be seen.
    """
    result = copy_of(model)
    shapes.forget_declared(result)
    return inliner.inline_local_functions(result) if result.functions else result


def logits(model: onnx.ModelProto, images: Array) -> npt.NDArray[np.float32]:
    """Return the class scores of images, or of a network without any the first output, as (N, values)."""
    outputs = Network(model)(images)
    chosen = next((item for item in outputs if item.kind == CLASS_SCORES), outputs[0])
    return np.asarray(chosen.values.reshape(len(images), -1))
