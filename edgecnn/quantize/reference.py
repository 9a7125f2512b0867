"""What a model that is not written yet gives for images, at every output that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, inliner

from edgecnn.artifact import Manifest
from edgecnn.budget import Budget
from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.parity import Output, Parity
from edgecnn.quantize.graph import shapes
from edgecnn.quantize.graph.edit import copy_of
from edgecnn.quantize.graph.index import Graph, input_specs
from edgecnn.quantize.graph.readouts import Readout, readout_of, readouts
from edgecnn.runtime import labels
from edgecnn.runtime.ort_engine import open_session, run_session
from edgecnn.runtime.sample_axis import BATCH, SampleAxes, declared
from edgecnn.runtime.samples import feeds, image_spec
from edgecnn.tasks import NetworkEnd, Task, task_of, task_of_values
from edgecnn.tasks.compare import compare_outputs, same_outputs

Array = npt.NDArray[Any]

#: Pixels of the images that go through a network at a time.
_PIXELS = 8 * 256 * 256


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

    @classmethod
    def of_outputs(cls, model: onnx.ModelProto) -> Network:
        """Open a model for all its outputs as they are, as an application reads them."""
        network = cls.__new__(cls)
        network.readouts = [Readout(value.name, value.name) for value in model.graph.output]
        network._open(model, optimize=True)
        return network

    def _open(self, model: onnx.ModelProto, *, optimize: bool) -> None:
        self._session = open_session(model.SerializeToString(), optimize=optimize)
        self._inputs = input_specs(model)
        image = image_spec(self._inputs)
        batch = image.shape[0] if image.shape else 1
        fixed = isinstance(batch, int)
        declaring = {value.name: value.shape or [] for value in self._session.get_outputs()}
        tensors = [readout.tensor for readout in self.readouts]
        self._axes = SampleAxes(
            [declared(declaring[name], batch) for name in tensors],
            (batch, batch) if isinstance(batch, int) else (1, None),
            fixed=fixed,
        )

    @property
    def mixes_images(self) -> bool:
        """Whether no output has an axis for the images; known once something was computed."""
        return all(self._axes.without_axis)

    def __call__(self, images: Array, more: Mapping[str, Array] = {}) -> list[Output]:
        """Return outputs for samples (`runtime.samples`); `more` are the values of inputs beside them.

        Of a fixed batch, an output that has no axis for the images has one row for each inference instead of
        each image. Left out is one whose shape depends on what is seen, as that of picked boxes does.
        """
        tensors = [readout.tensor for readout in self.readouts]

        def infer(chosen: npt.NDArray[np.int64]) -> list[Array]:
            return run_session(self._session, tensors, {**feeds(images[chosen], self._inputs), **more})

        rows = self._axes.rows(infer, len(images), _at_a_time(images))
        return [
            Output(readout.name, _without_ones(values), readout.threshold)
            for readout, values in zip(self.readouts, rows, strict=True)
            if values is not None
        ]


def _at_a_time(images: Array) -> int:
    """Return how many samples go through a network at a time: fewer where their tensors are larger."""
    kinds = [images.dtype[name] for name in images.dtype.names or ()]
    shapes = [kind.shape for kind in kinds] or [images.shape[1:]]
    pixels = max(int(np.prod(sorted(shape)[-2:])) for shape in shapes)
    return max(1, min(BATCH, _PIXELS // max(1, pixels)))


def _without_ones(values: Array) -> Array:
    """Return (N, C, 1, 1) as (N, C): scores that were pooled, which a rewritten graph may have flattened."""
    return values[..., 0, 0] if values.ndim == 4 and values.shape[2:] == (1, 1) else values


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
    #: What the outputs mean; None for what they tell themselves.
    meaning: Task | None = None

    def __post_init__(self) -> None:
        same = [replace(item, values=_without_ones(item.values)) for item in self.outputs]
        object.__setattr__(self, "outputs", same)

    @classmethod
    def of(
        cls, model: onnx.ModelProto, images: Array, *, optimize: bool = True, meaning: Task | None = None
    ) -> Reference:
        """Run a model; raises ArtifactError if none of its outputs can be compared.

        Without `optimize` each node is computed as it stands in the graph.
        """
        network = Network(model, optimize=optimize)
        outputs = network(images)
        if not outputs:
            raise ArtifactError(
                "the shape of every output depends on the image, so nothing can be compared",
                hint="export the network without picking boxes at its end",
            )
        if network.mixes_images and len(images) != 1:
            names = ", ".join(repr(item.name) for item in outputs)
            raise ArtifactError(
                f"output {names} has no axis for the images of a batch",
                hint="export the network so that each output holds one entry per image",
            )
        return cls(outputs, images, meaning)

    def first(self, count: int) -> Reference:
        """Return the reference of so many of the images; of all, where an output has no row for each."""
        if any(len(item.values) != len(self.images) for item in self.outputs):
            return self
        outputs = [replace(item, values=item.values[:count]) for item in self.outputs]
        return Reference(outputs, self.images[:count], self.meaning)

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
        self.task.demand_decisions(self.outputs)

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
        return compare_outputs(
            self.outputs, same_outputs(self.outputs, outputs, what), what, constant=constant, task=self.task
        )

    @property
    def task(self) -> Task:
        """What the outputs mean."""
        return self.meaning or task_of_values(self.outputs)


def task_of_network(manifest: Manifest, outputs: Sequence[Output], size: Size | None) -> Task:
    """Return the task of a network that gave outputs for inputs of a size, by what its manifest says."""
    end = NetworkEnd([item.spec for item in outputs], size, labels.count(manifest.labels))
    return task_of(manifest.task, end, manifest.decoder)


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
    scores = task_of_values(outputs).class_scores(outputs)
    return np.asarray(outputs[0].values.reshape(len(images), -1)) if scores is None else scores
