"""The engine: one wrapper with all the checks, and a backend that only infers."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.backends import Backend
from edgecnn.errors import ArtifactError, EngineError, InputError, InvalidValueError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.runtime import labels, sample_axis
from edgecnn.runtime.compatibility import library_version
from edgecnn.runtime.engine_inputs import Inputs, by_input, fitting
from edgecnn.runtime.image_files import ImageLike
from edgecnn.runtime.image_preparation import PreparesImages
from edgecnn.runtime.image_stream import viewed_stream
from edgecnn.runtime.preprocessing import Preprocessing
from edgecnn.runtime.processor import processor
from edgecnn.runtime.sample_axis import Infer, SampleAxes
from edgecnn.runtime.samples import image_spec, is_batched
from edgecnn.runtime.times import Times
from edgecnn.tasks import NetworkEnd, Task, task_of

Array = npt.NDArray[Any]

#: Libraries start as many threads as they are told, until the system ends the process.
_MOST_THREADS = 1024


class Engine(PreparesImages, abc.ABC):
    """A model that is ready to run. Safe to call from several threads.

    A backend fills in `_infer` and, if it holds something, `_release`.
    """

    #: Name of the backend, as it stands in results.
    backend: str
    #: "cpu" or "cuda": where it really runs.
    device: str
    #: Number of threads that one inference uses; 0 means the library's own choice.
    threads: int

    def __init__(
        self,
        path: Path,
        manifest: Manifest | None,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        if not inputs:
            raise ArtifactError(f"{path} has no inputs, so there is nothing to run it on")
        self.path = path
        self.manifest = manifest
        #: What the engine takes, and what it gives, in the graph's order.
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.constants = dict(manifest.constants) if manifest else {}
        self._image_input = image_spec(self.inputs)
        #: What says what the outputs mean: a name, a decoder with settings, or neither.
        self._meaning = (manifest.task, manifest.decoder) if manifest else (None, None)
        self._task: Task | None = None
        batch = self.input.shape[0] if self.input.shape else 1
        #: Fewest and most images of one inference; None: any number.
        self.batches: tuple[int, int | None] = (batch, batch) if isinstance(batch, int) else (1, None)
        self._preprocessing = (
            Preprocessing.from_json(manifest.preprocessing) if manifest and manifest.preprocessing else None
        )
        self._dtype = np.dtype(self.input.dtype)
        #: The shape of the last array that fitted: the usual next one needs no more than to be like it.
        self._fitted: tuple[int, ...] | None = None
        self._found_axes: SampleAxes | None = None
        self._closed = False

    @abc.abstractmethod
    def _infer(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run the model on checked, contiguous arrays, one for each input; return one for each output."""

    @classmethod
    def here(cls, backend: Backend) -> dict[str, str]:
        """Return what this machine is, by the names that `EngineRecord.needs` uses.

        Raises MissingPackageError if the backend's library is not installed.
        """
        return {backend.title: library_version(backend), "processor": processor()}

    def _release(self) -> None:
        """Give back what the backend holds."""

    @property
    def task(self) -> Task:
        """What the outputs mean; raises UnknownNameError, and ArtifactError for a decoder of another task."""
        if self._task is None:
            count = labels.count(self.manifest.labels) if self.manifest else None
            end = NetworkEnd(self.outputs, self.picture_size, count)
            name, decoder = self._meaning
            self._task = task_of(name, end, decoder)
        return self._task

    def decode_by(self, decoder: Mapping[str, Any]) -> None:
        """Let outputs be read so, whatever the file says or does not say: a decoder's name and settings."""
        self._meaning, self._task = (None, decoder), None
        _ = self.task

    def prepare_by(self, preprocessing: Preprocessing) -> None:
        """Let images be prepared so, whatever the file says or does not say."""
        super().prepare_by(preprocessing)
        self._task = None  # of an input of any size, where boxes lie depends on it

    @property
    def picture_size(self) -> Size | None:
        """Height and width of the input, where the file or the preparation of images says them."""
        sizes = self.input.shape[2:] if self.input.layout == "NCHW" else self.input.shape[1:3]
        if len(self.input.shape) == 4 and all(isinstance(size, int) for size in sizes):
            return Size(*map(int, sizes))
        return self._preprocessing.size if self._preprocessing else None

    @property
    def classes(self) -> int:
        """Number of classes that the network tells apart; 0 where that is not known, or it tells none."""
        return self.task.classes(self.outputs)

    def __call__(self, inputs: Inputs) -> Any:
        """Return the network's outputs as they are: an array of one, of several a dictionary by name.

        `inputs` is an array with the shape and type of `engine.input`, of several inputs a mapping by name.
        Raises InputError if an array does not fit, EngineError if the library fails.
        """
        found = self._computed(inputs)
        return found[0] if len(found) == 1 else self._named(found)

    def infer(self, inputs: Inputs) -> dict[str, Array]:
        """Return the outputs by name, however many there are; as calling does."""
        return self._named(self._computed(inputs))

    def _named(self, values: Sequence[Array]) -> dict[str, Array]:
        return {spec.name: value for spec, value in zip(self.outputs, values, strict=True)}

    def _computed(self, inputs: Inputs) -> Sequence[Array]:
        arrays = self.check(inputs)
        try:
            if len(arrays) == 1:
                return self._infer((np.asarray(arrays[0], order="C"),))
            return self._infer([np.asarray(array, order="C") for array in arrays])
        except Exception as error:
            if self._closed:  # by another thread, meanwhile
                raise self._is_closed() from error
            raise

    def _is_closed(self) -> EngineError:
        return EngineError(f"the engine of {self.path} is closed", hint="load it again")

    @property
    def notes(self) -> list[str]:
        """What a reader of this engine's figures should know of how its library computes the file."""
        return []

    @property
    def launches_graph(self) -> bool | None:
        """Whether a CUDA graph launches an inference; None where there is no such thing."""
        return None

    def time(self, inputs: Inputs) -> Times | None:
        """Run a batch, and return how long its parts took; None, at once, where nothing is moved to a GPU.

        Raises as calling does.
        """
        return None

    def check(self, inputs: Inputs) -> Sequence[Array]:
        """Return the arrays, one for each input, if the engine takes them now.

        Raises InputError if it does not, EngineError if it is closed.
        """
        if self._closed:
            raise self._is_closed()
        if type(inputs) is np.ndarray and inputs.shape == self._fitted and inputs.dtype == self._dtype:
            return (inputs,)
        arrays = fitting(inputs, self.inputs, self.path.name)
        count = self._count(inputs)
        least, most = self.batches
        if not least <= count <= (most or count):
            raise InputError(
                f"{self.path.name} takes {least} to {most} images at a time, not {count}",
                hint="engine.run takes any number; edgecnn compile --batch MIN:OPT:MAX sets the range",
            )
        if len(arrays) == 1:
            self._fitted = arrays[0].shape
        return arrays

    def run(self, inputs: Inputs) -> Any:
        """Like calling the engine, for any number of images: a batch is filled up and cut again.

        Outputs are joined along the axis on which the images lie. Raises EngineError for an output whose
        shape depends on what is seen.
        """
        count = self._count(inputs)
        least, most = self.batches
        if count == 0 or least <= count <= (most or count):
            return self(inputs)
        found = self._axes.as_they_are(self._by_number(inputs), count)
        for spec, value in zip(self.outputs, found, strict=True):
            if value is None:
                raise EngineError(
                    f"the output {spec.name!r} of {self.path.name} has another shape for other images, and"
                    " cannot be joined",
                    hint="call the engine with as many images as it takes at a time",
                )
        return found[0] if len(found) == 1 else self._named(found)  # type: ignore[arg-type]

    def rows(self, inputs: Inputs) -> list[Output]:
        """Return each output for any number of images, (images, ...), wherever the network has that axis.

        Of a batch of several images that is fixed, an output without such an axis has a row for each
        inference. Left out is an output whose shape depends on what is seen. Raises as calling does.
        """
        found = self._axes.rows(self._by_number(inputs), self._count(inputs))
        return [
            Output(spec.name, value)
            for spec, value in zip(self.outputs, found, strict=True)
            if value is not None
        ]

    def _count(self, inputs: Inputs) -> int:
        """Return the number of images; 0 for what cannot be counted, which a check refuses."""
        first = inputs.get(self.input.name) if isinstance(inputs, Mapping) else inputs
        if not self.input.shape:
            return 1
        return len(first) if isinstance(first, np.ndarray) and first.ndim else 0

    def _by_number(self, inputs: Inputs) -> Infer:
        """Return what computes the outputs of some of the images, by their numbers."""
        arrays = by_input(inputs, self.inputs, self.path.name)
        batched = [is_batched(spec, self.input) for spec in self.inputs]
        names = [spec.name for spec in self.inputs]

        def infer(chosen: npt.NDArray[np.int64]) -> Sequence[Array]:
            parts = [
                array[chosen] if of_images else array
                for array, of_images in zip(arrays, batched, strict=True)
            ]
            return self._computed(parts[0] if len(parts) == 1 else dict(zip(names, parts, strict=True)))

        return infer

    @property
    def _axes(self) -> SampleAxes:
        if self._found_axes is None:
            fixed = self.batches[0] == self.batches[1]
            axes = [self._declared_axis(spec) for spec in self.outputs]
            self._found_axes = SampleAxes(axes, self.batches, fixed=fixed)
        return self._found_axes

    def _declared_axis(self, spec: TensorSpec) -> int | None:
        """Return the axis of images of an output that the file, or the one it was built from, declares."""
        named = sample_axis.declared(spec.shape, self.input.shape[0] if self.input.shape else None)
        if named is not None:
            return named
        if (axis := self._axis_in_manifest(spec)) is not None:
            return axis
        fixed, sizes = self.batches[0], [size for size in spec.shape if isinstance(size, int)]
        known = fixed == self.batches[1] and len(sizes) == len(spec.shape)
        return sample_axis.fixed_axis(tuple(sizes), fixed) if known else None

    def _axis_in_manifest(self, spec: TensorSpec) -> int | None:
        """Return the axis that the file declared which this one was built from."""
        if self.manifest is None:
            return None
        source = next((item for item in self.manifest.outputs if item.name == spec.name), None)
        first = self.manifest.inputs[0].shape
        if source is None or not first or len(source.shape) != len(spec.shape):
            return None
        return sample_axis.declared(source.shape, first[0])

    def predict(
        self, images: ImageLike | Sequence[ImageLike], top: int | None = None, batch: int | None = None
    ) -> list[Any]:
        """Return the task's answer for each image: of a classifier its `top` most probable classes.

        Of a detector the objects, of a segmenter the mask, in pixels of the picture; of a network whose
        outputs mean nothing known, each image's part of every output, by name. `top` is five classes, or a
        hundred objects, where it is left out. Of many images the next ones are decoded while the engine
        computes, `batch` at a time (`stream`).
        """
        if isinstance(images, (list, tuple)):
            several: Sequence[ImageLike] = images
        else:
            several = [images]  # type: ignore[list-item]
        if not several:
            return []
        self.task.demand_answers(self.outputs, self.path.name)
        names = partial(labels.names, self.manifest.labels if self.manifest else None)
        return [
            answer
            for outputs, views in viewed_stream(self, several, batch, self._rows_of)
            for answer in self.task.answers(outputs, names, top, views)
        ]

    def _rows_of(self, images: Array) -> list[Output]:
        return self.rows(self.with_constants(images))

    def close(self) -> None:
        """Release the engine; calling it afterwards is an EngineError. May be called twice."""
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def demand_threads(threads: int) -> None:
    """Raise InvalidValueError for a number of threads that no machine can start; 0: the library's choice."""
    if not 0 <= threads <= _MOST_THREADS:
        raise InvalidValueError(
            f"{threads} threads cannot be used",
            hint=f"0 means the library's choice, and {_MOST_THREADS} are the most",
        )
