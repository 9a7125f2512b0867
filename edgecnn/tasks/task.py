"""What every task answers of a network's outputs."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecnn.artifact import TensorSpec
from edgecnn.errors import InvalidValueError, ParityError
from edgecnn.parity import MIN_SPREAD, Kept, Output, spread
from edgecnn.tasks.decoders import NetworkEnd
from edgecnn.tasks.view import View

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgecnn.tasks.metric import Metric

#: What an output is of which nothing is known: a map, boxes, an embedding.
VALUES = "values"

#: Returns one name for each of so many classes.
Names = Callable[[int], Sequence[str]]


class Task(abc.ABC):
    """A row: what outputs are, what they decide, how they become answers, and which metric counts.

    A row of the table knows no network; `of` returns what is asked of one.
    """

    #: As it stands in manifests.
    name: str
    title: str

    #: Whether answers have a place in a picture, so that `drawn` shows them.
    draws = False

    @abc.abstractmethod
    def suits(self, end: NetworkEnd) -> bool:
        """Return whether a network that ends so, of which nothing else is known, is of this task."""

    def of(self, end: NetworkEnd, decoder: Mapping[str, Any] | None) -> Task:
        """Return the task of one network; `decoder` as in its manifest. Raises UnknownNameError."""
        return self

    @property
    def decoder(self) -> dict[str, Any] | None:
        """What makes boxes or masks of the outputs, as it stands in a manifest; None without."""
        return None

    def kind(self, output: Output) -> str:
        """Return what an output is."""
        return VALUES

    def decisions(self, output: Output) -> npt.NDArray[np.int64] | None:
        """Return what an output decides for each image, (images,); None for one that decides nothing."""
        return None

    def proves(self, decisions: npt.NDArray[np.int64], output: Output) -> bool:
        """Return whether it says something that decisions, (images,), of an output are kept."""
        return True

    def paired(
        self, references: Sequence[Output], outputs: Sequence[Output]
    ) -> tuple[Sequence[Output], Sequence[Output]]:
        """Return what is compared value for value: where rows are ranked, those that belong together."""
        return references, outputs

    def kept(self, references: Sequence[Output], outputs: Sequence[Output]) -> Kept | None:
        """Return how much of what the references decide together is kept; None where each decides alone."""
        return None

    def demand_decisions(self, outputs: Sequence[Output]) -> None:
        """Raise what keeps an agreement with these outputs of a reference from being measured.

        InvalidValueError if nothing is decided, ParityError if keeping what is decided would prove nothing.
        """
        deciding = [(item, found) for item in outputs if (found := self.decisions(item)) is not None]
        if not deciding:
            raise InvalidValueError(
                "no output of the network is class scores or a single score, so no agreement can be asked",
                hint="give `min_sqnr` in place of `min_agreement`",
            )
        for item, decisions in deciding:
            if not self.proves(decisions, item):
                raise ParityError(
                    f"all {len(decisions)} images have a score on one side of {item.threshold:g} at output"
                    f" {item.name!r}, so that int8 keeps it there would prove nothing",
                    hint="give images of both kinds (`calib` FOLDER), or `min_sqnr`",
                )

    def varies(self, output: Output) -> bool:
        """Return whether an output depends on the image."""
        values = output.values.reshape(len(output.values), -1)
        return len(values) > 1 and spread(values) > MIN_SPREAD

    def deciding(self, outputs: Sequence[Output]) -> Output | None:
        """Return the first output that decides something."""
        return next((item for item in outputs if self.decisions(item) is not None), None)

    def answers_classes(self, outputs: Sequence[TensorSpec]) -> bool:
        """Return whether images with the index of their class say how good a network is."""
        return False

    def classes(self, outputs: Sequence[TensorSpec]) -> int:
        """Return how many classes a network tells apart; 0 where it tells none, or its shapes do not say."""
        return 0

    def class_scores(self, outputs: Sequence[Output]) -> npt.NDArray[np.float32] | None:
        """Return the scores of classes, (images, classes), out of a network's outputs; None without any."""
        return None

    @property
    def metric(self) -> Metric | None:
        """What labelled images measure; None where labels say nothing."""
        return None

    def demand_answers(self, outputs: Sequence[TensorSpec], name: str) -> None:  # noqa: B027 - most give any
        """Raise ArtifactError for a network, of a file called `name`, whose outputs give no answers."""

    @abc.abstractmethod
    def answers(
        self, outputs: Sequence[Output], names: Names, top: int | None, views: Sequence[View] | None = None
    ) -> list[Any]:
        """Return the answer for each image; `top`: how many at most, of ranked ones; None for the usual.

        `views` say where each picture lies in the input: what has a place there gets it in the picture.
        """

    @abc.abstractmethod
    def lines(self, answer: Any) -> list[str]:
        """Return an answer as it is printed."""

    @abc.abstractmethod
    def to_json(self, answer: Any) -> dict[str, Any]:
        """Return an answer as JSON values."""

    def drawn(self, picture: Image, answer: Any) -> Image:
        """Return a picture with what was found in it, where the task `draws`."""
        raise InvalidValueError(f"answers of the task {self.name} have no place in a picture")
