"""What every decoder answers: from a network's outputs to boxes or masks, in pixels of its input."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks.boxes import Boxes
from edgecnn.tasks.decoder_settings import Settings, number

#: (height, width) of class indices.
Mask = npt.NDArray[np.integer[Any]]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class NetworkEnd:
    """What is known of a network where it ends, before it runs."""

    outputs: Sequence[TensorSpec]
    #: Of its input, where that is known and fixed.
    size: Size | None = None
    #: How many classes it has, where labels say so.
    classes: int | None = None

    def shapes(self) -> list[tuple[int | None, ...]]:
        """Return what each output has for an image; None for a free size."""
        return [
            tuple(size if isinstance(size, int) else None for size in spec.shape[1:]) for spec in self.outputs
        ]

    def first(self, axis: int) -> int:
        """Return a size of the first output, without the images' axis; 0 where it is free or missing."""
        sizes = self.shapes()[0] if self.outputs else ()
        return sizes[axis] or 0 if axis < len(sizes) else 0

    def last(self, name: str) -> int:
        """Return the last size of an output: of that name, else of the first; 0 where it is free."""
        sizes = [spec.shape for spec in self.outputs if spec.name == name] or [
            spec.shape for spec in self.outputs[:1]
        ]
        size = sizes[0][-1] if sizes and sizes[0] else 0
        return size if isinstance(size, int) else 0


class Decoder(abc.ABC):
    """A row: a layout of outputs that networks have."""

    #: As it stands in manifests.
    name: str
    #: Which networks have it.
    title: str
    #: Settings where a manifest does not say.
    defaults: Mapping[str, Any] = MappingProxyType({})

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether outputs are surely of this layout: a wrong guess is worse than asking."""
        return False

    def columns(self, end: NetworkEnd) -> int:
        """Return how many classes the outputs have scores for; 0 where that is not seen."""
        return 0

    def classes(self, end: NetworkEnd, settings: Settings) -> int:
        """Return how many classes there are; 0 where nothing says it."""
        chosen = settings.get("classes")
        if isinstance(chosen, Sequence):
            return len(chosen)
        return self.columns(end) or end.classes or 0

    def settled(self, settings: Settings) -> dict[str, Any]:
        """Return the settings with those that were left out."""
        return {**self.defaults, **settings}


class BoxDecoder(Decoder):
    """A decoder that makes boxes."""

    @abc.abstractmethod
    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Boxes]:
        """Return the boxes of each image, best first, in pixels of the input, whose size is `size`.

        Raises ArtifactError for outputs or settings of another layout.
        """

    def paired(
        self, references: Sequence[Output], outputs: Sequence[Output], least: float
    ) -> tuple[Sequence[Output], Sequence[Output]]:
        """Return outputs whose rows stand for the same: of a ranking, boxes of a least score, side by side.

        Other layouts have a row for each place in the input, and are as they were.
        """
        return references, outputs


class MaskDecoder(Decoder):
    """A decoder that makes masks."""

    @abc.abstractmethod
    def decode(self, outputs: Sequence[Output], settings: Settings, size: Size) -> list[Mask]:
        """Return the mask of each image, (height, width) of class indices, as large as the input."""


def default(**settings: Any) -> Mapping[str, Any]:
    """Return settings that nothing changes."""
    return MappingProxyType(settings)


def parts(outputs: Sequence[Output], names: Sequence[str], decoder: str) -> list[Array]:
    """Return outputs by name as float32; in this order where they are called otherwise.

    Raises ArtifactError where there are fewer.
    """
    by_name = {item.name: item for item in outputs}
    found = [by_name[name] for name in names if name in by_name]
    if len(found) < len(names):
        found = list(outputs)
    if len(found) != len(names):
        raise wrong_outputs(outputs, decoder)
    # Where networks are compared, a size of 1 at the end is left out.
    values = [np.asarray(item.values, np.float32) for item in found]
    return [item[..., None] if item.ndim == 2 else item for item in values]


def wrong_outputs(outputs: Sequence[Output], decoder: str) -> ArtifactError:
    """Return what is to be said of outputs that are of no decoder's layout."""
    shapes = ", ".join(" x ".join(map(str, item.values.shape)) for item in outputs)
    return ArtifactError(
        f"outputs of {shapes} cannot be read by the decoder {decoder}",
        hint="docs/tasks.md says which outputs each decoder reads",
    )


def labelled(scores: Array, settings: Settings, *, background: bool = False) -> Array:
    """Return the columns of scores, (..., columns), that are labels; `background`: the first column is none.

    Raises ArtifactError for columns that there are not.
    """
    columns = settings.get("classes")
    if columns is None:
        return scores[..., 1:] if background else scores
    whole = isinstance(columns, Sequence) and all(
        isinstance(item, int) and 0 <= item < scores.shape[-1] for item in columns
    )
    if not whole or not columns:
        raise ArtifactError(
            f"the decoder's classes are no columns of {scores.shape[-1]} scores",
            hint="the number of the column for each label",
        )
    return scores[..., list(columns)]


def sigmoid(values: Array) -> npt.NDArray[np.float32]:
    """Return 1 / (1 + exp(-x)), which overflows nowhere."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)), np.float32)


def softmax(values: Array) -> npt.NDArray[np.float32]:
    """Return probabilities over the last axis."""
    raised = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def corners_of(centred: Array) -> npt.NDArray[np.float32]:
    """Return corners of boxes, (..., 4), given as centre x, centre y, width, height."""
    middle, half = centred[..., :2], centred[..., 2:4] / 2
    return np.asarray(np.concatenate([middle - half, middle + half], axis=-1), np.float32)


def whole(settings: Settings, key: str) -> int:
    """Return a setting that counts something, at least one."""
    return max(1, int(number(settings, key)))
