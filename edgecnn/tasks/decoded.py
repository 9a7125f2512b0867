"""Tasks whose outputs a decoder has to read first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

from edgecnn.artifact import TensorSpec
from edgecnn.errors import ArtifactError
from edgecnn.image_size import Size
from edgecnn.parity import Output
from edgecnn.tasks.decoders import DECODERS, Decoder, NetworkEnd, recognized
from edgecnn.tasks.task import Task

D = TypeVar("D", bound=Decoder)
#: Where no decoder is named, and none is recognized.
_NAME_ONE = "`decoder` names what reads them: "


class Decoded(Task, Generic[D]):
    """A task of one network, with its decoder; as a row of the table it has none."""

    #: Which decoders make what the task is about.
    decoders: ClassVar[type[Decoder]]

    def __init__(
        self,
        end: NetworkEnd | None = None,
        decoder: D | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._end, self._decoder = end or NetworkEnd(()), decoder
        self._settings = decoder.settled(settings or {}) if decoder else {}

    def suits(self, end: NetworkEnd) -> bool:
        """Return whether the outputs are surely of a layout that one of the decoders reads."""
        return isinstance(recognized(end), self.decoders)

    def of(self, end: NetworkEnd, decoder: Mapping[str, Any] | None) -> Task:
        """Return the task of one network, whose decoder is recognized where none is named.

        Raises UnknownNameError, and ArtifactError for a decoder that makes something else.
        """
        found = recognized(end) if decoder is None else DECODERS.get(str(decoder.get("name")))
        if found is not None and not isinstance(found, self.decoders):
            raise ArtifactError(
                f"the decoder {found.name} is none for {self.name}", hint=f"one of: {self._names()}"
            )
        return type(self)(end, cast("D | None", found), decoder)

    @property
    def decoder(self) -> dict[str, Any] | None:
        """The decoder's name and its settings."""
        return None if self._decoder is None else {"name": self._decoder.name, **self._settings}

    @property
    def size(self) -> Size:
        """Of the network's input; raises ArtifactError where that is free and nothing else says it."""
        if self._end.size is None:
            raise ArtifactError(
                "the size of the network's input is free, and where boxes or masks lie depends on it",
                hint="`size` says it",
            )
        return self._end.size

    @property
    def chosen(self) -> D:
        """The decoder; raises ArtifactError where none is known."""
        if self._decoder is None:
            shapes = ", ".join(
                f"{' x '.join(map(str, spec.shape))} {spec.dtype}" for spec in self._end.outputs
            )
            raise ArtifactError(
                f"which layout outputs of {shapes or 'unknown shape'} have cannot be told safely",
                hint=f"{_NAME_ONE}{self._names()}",
            )
        return self._decoder

    @property
    def settings(self) -> Mapping[str, Any]:
        """The decoder's settings, all of them."""
        return self._settings

    def classes(self, outputs: Sequence[TensorSpec]) -> int:
        """Return how many classes there are; 0 where nothing says it."""
        return 0 if self._decoder is None else self._decoder.classes(self._end, self._settings)

    def demand_answers(self, outputs: Sequence[TensorSpec], name: str) -> None:
        """Raise ArtifactError where no decoder is known."""
        _ = self.chosen

    def named_classes(self, names: Any, highest: int) -> Sequence[str]:
        """Return a name for each class: of as many as are known, at least up to the `highest` index."""
        count = self.classes(self._end.outputs)
        found: list[str] = list(names(count)) if count else []
        return found + [f"class {index}" for index in range(len(found), highest + 1)]

    def _names(self) -> str:
        return ", ".join(row.name for row in DECODERS if isinstance(row, self.decoders))


def decoded(task: Decoded[Any], outputs: Sequence[Output], **settings: Any) -> list[Any]:
    """Return what a task's decoder makes of outputs, an entry for each image, in pixels of the input.

    `settings` stand in place of the task's.
    """
    found: list[Any] = task.chosen.decode(outputs, {**task.settings, **settings}, task.size)
    return found
