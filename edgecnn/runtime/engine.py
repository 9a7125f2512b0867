"""The engine: one wrapper with all the checks, and a backend that only infers."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import Manifest, TensorSpec
from edgecnn.backends import Backend
from edgecnn.errors import ArtifactError, EngineError, InputError, InvalidValueError
from edgecnn.runtime import labels
from edgecnn.runtime.compatibility import library_version
from edgecnn.runtime.image_stream import stream
from edgecnn.runtime.preprocessing import ImageLike, Preprocessing
from edgecnn.runtime.processor import processor
from edgecnn.runtime.times import Times

Array = npt.NDArray[Any]

#: Libraries start as many threads as they are told, until the system ends the process.
_MOST_THREADS = 1024


@dataclass(frozen=True)
class Prediction:
    """One class of one image."""

    index: int
    label: str
    probability: float


class Engine(abc.ABC):
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
        spec: TensorSpec,
        outputs: int,
        output: TensorSpec | None = None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        #: What the engine takes.
        self.input = spec
        #: Number of classes.
        self.classes = outputs
        #: What the network gives, before it becomes a row of float32 for each image; None if not known.
        self.output = output
        batch = spec.shape[0] if spec.shape else 1
        #: Fewest and most images of one inference; None: any number.
        self.batches: tuple[int, int | None] = (batch, batch) if isinstance(batch, int) else (1, None)
        self._preprocessing = (
            Preprocessing.from_json(manifest.preprocessing) if manifest and manifest.preprocessing else None
        )
        self._dtype = np.dtype(spec.dtype)
        #: The shape of the last array that fitted: the usual next one needs no more than to be like it.
        self._fitted: tuple[int, ...] | None = None
        self._closed = False

    @abc.abstractmethod
    def _infer(self, array: Array) -> Array:
        """Run the model on a checked, contiguous array."""

    @classmethod
    def here(cls, backend: Backend) -> dict[str, str]:
        """Return what this machine is, by the names that `EngineRecord.needs` uses.

        Raises MissingPackageError if the backend's library is not installed.
        """
        return {backend.title: library_version(backend), "processor": processor()}

    def _release(self) -> None:  # noqa: B027 - a backend with nothing to release leaves it
        """Give back what the backend holds."""

    def __call__(self, array: Array) -> Array:
        """Return logits, (N, classes) float32, of a batch with the shape and type of `engine.input`.

        Raises InputError if the array does not fit, EngineError if the library fails.
        """
        self.check(array)
        try:
            logits = self._infer(np.ascontiguousarray(array))
        except Exception as error:
            if self._closed:  # by another thread, meanwhile
                raise self._is_closed() from error
            raise
        if logits.ndim == 2 and logits.dtype == np.float32:
            return logits
        # Foreign files: float16, or (N, classes, 1, 1) of a network that ends in a pooling.
        return logits.reshape(*logits.shape[:1], -1).astype(np.float32)

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

    def time(self, array: Array) -> Times | None:
        """Run a batch, and return how long its parts took; None, at once, where nothing is moved to a GPU.

        Raises as calling does.
        """
        return None

    def check(self, array: Array) -> None:
        """Raise unless the engine takes an array now: InputError, or EngineError if it is closed."""
        if self._closed:
            raise self._is_closed()
        if type(array) is np.ndarray and array.shape == self._fitted and array.dtype == self._dtype:
            return
        given: object = array
        if not isinstance(given, np.ndarray | np.generic):
            raise InputError(
                f"{self.path.name} takes a NumPy array, not an object of type {type(given).__name__}",
                hint="numpy.asarray(...) makes one; engine.predict(images) takes images",
            )
        expected = self.input.shape
        if (
            array.dtype != self._dtype
            or array.ndim != len(expected)
            or array.size == 0
            or any(
                isinstance(size, int) and size != given
                for size, given in zip(expected, array.shape, strict=True)
            )
        ):
            wanted = " x ".join(str(size) for size in expected)
            shape = " x ".join(str(size) for size in array.shape) or "a scalar"
            raise InputError(
                f"{self.path.name} takes {wanted} {self.input.dtype}, not {shape} {array.dtype}",
                hint="prepare images with engine.prepare(images), or call engine.predict(images)",
            )
        least, most = self.batches
        if not least <= len(array) <= (most or len(array)):
            raise InputError(
                f"{self.path.name} takes {least} to {most} images at a time, not {len(array)}",
                hint="engine.run takes any number; edgecnn compile --batch MIN:OPT:MAX sets the range",
            )
        self._fitted = array.shape

    def prepare_by(self, preprocessing: Preprocessing) -> None:
        """Let images be prepared so, whatever the file says or does not say."""
        self._preprocessing = preprocessing

    @property
    def is_prepared(self) -> bool:
        """Whether it is known how images are prepared."""
        return self._preprocessing is not None

    def demand_own_preprocessing(self) -> None:
        """Raise ArtifactError if the file's manifest prepares other images than its input takes."""
        if self._preprocessing is not None:
            self._preprocessing.demand_input(self.input.shape, self.input.layout, self.path.name)

    @property
    def preprocessing(self) -> Preprocessing:
        """From an image to the input; raises ArtifactError for a file that does not say."""
        if self._preprocessing is None:
            raise ArtifactError(
                f"{self.path} carries no manifest, so how its images are prepared is not known",
                hint="pass load(path, preprocessing=...), or export the network with edgecnn",
            )
        return self._preprocessing

    def prepare(self, images: Sequence[ImageLike]) -> Array:
        """Return images as an input array of this engine; one image that cannot be read is a DataError."""
        if not len(images):
            raise InputError("there are no images to prepare", hint="give at least one")
        return self.prepare_frames(np.stack([self.preprocessing.frame(image) for image in images]))

    def prepare_frames(self, frames: npt.NDArray[np.uint8]) -> Array:
        """Return fitted images, (N, height, width, channels) uint8, as an input array."""
        return self.input_of(frames, self.preprocessing)

    def input_of(self, frames: npt.NDArray[np.uint8], preprocessing: Preprocessing) -> Array:
        """Return frames in the type and layout of the input: uint8 as they are, floats normalized."""
        nhwc = self.input.layout == "NHWC"
        if self._dtype == np.uint8:
            return frames if nhwc else frames.transpose(0, 3, 1, 2)
        normalized = preprocessing.normalize(frames).astype(self._dtype, copy=False)
        return normalized.transpose(0, 2, 3, 1) if nhwc else normalized

    def run(self, array: Array) -> Array:
        """Like calling the engine, for any number of images: a batch is filled up and cut again."""
        least, most = self.batches
        count = len(array) if isinstance(array, np.ndarray) and array.ndim else 0
        if count == 0 or least <= count <= (most or count):
            return self(array)
        size = most or least
        parts = []
        for start in range(0, count, size):
            part = array[start : start + size]
            padding = np.repeat(part[-1:], max(0, least - len(part)), axis=0)
            parts.append(self(np.concatenate([part, padding]))[: len(part)])
        return np.concatenate(parts)

    def predict(
        self, images: ImageLike | Sequence[ImageLike], top: int = 5, batch: int | None = None
    ) -> list[list[Prediction]]:
        """Return the `top` most probable classes of each image, best first.

        Of many images the next ones are decoded while the engine computes, `batch` at a time (`stream`).
        """
        if isinstance(images, (list, tuple)):
            several: Sequence[ImageLike] = images
        else:
            several = [images]  # type: ignore[list-item]
        if not several:
            return []
        self.demand_class_scores()
        logits = list(stream(self, several, batch))
        probabilities = softmax(np.concatenate(logits))
        names = labels.names(self.manifest.labels if self.manifest else None, probabilities.shape[1])
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, : max(1, top)]
        return [
            [Prediction(int(index), names[index], float(row[index])) for index in order]
            for row, order in zip(probabilities, best, strict=True)
        ]

    def demand_class_scores(self) -> None:
        """Raise ArtifactError for a network whose output is known to be something else than class scores."""
        if self.output is None or not self.output.shape:
            return
        sizes = [*self.output.shape[1:]]
        while len(sizes) > 1 and sizes[-1] == 1:
            sizes.pop()
        if self.output.dtype.startswith("float") and len(sizes) == 1 and sizes[0] != 1:
            return
        shape = " x ".join(map(str, self.output.shape))
        raise ArtifactError(
            f"{self.path} is no image classifier: its output is {shape} {self.output.dtype}",
            hint="a row of two or more class scores for each image is expected; engine.run gives the output",
        )

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


def image_layout(shape: Sequence[int | str]) -> str:
    """Return the layout of a foreign file's input, which does not say: images have few channels."""
    few = (1, 3, 4)
    return "NHWC" if len(shape) == 4 and shape[3] in few and shape[1] not in few else "NCHW"


def demand_threads(threads: int) -> None:
    """Raise InvalidValueError for a number of threads that no machine can start; 0: the library's choice."""
    if not 0 <= threads <= _MOST_THREADS:
        raise InvalidValueError(
            f"{threads} threads cannot be used",
            hint=f"0 means the library's choice, and {_MOST_THREADS} are the most",
        )


def count_classes(shape: Sequence[int | str | None]) -> int:
    """Return the number of logits for one image by an output's shape; 0 where that does not say."""
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    return math.prod(sizes) if sizes and len(sizes) == len(shape) - 1 else 0


def softmax(logits: Array) -> Array:
    """Return probabilities over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))
