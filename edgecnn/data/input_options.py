"""What a user says of inputs that are no images: the same option for every verb that runs networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgecnn.errors import InvalidValueError
from edgecnn.options import Request, option


def words(text: str) -> tuple[str, ...]:
    """Read "a=1 b=2,3" as its parts."""
    return tuple(text.split())


@dataclass(frozen=True)
class InputOptions(Request):
    """Constants for inputs beside the image. Raises InvalidValueError for what names no value."""

    input: tuple[str, ...] = option(
        (),
        "Values of inputs that are the same for every sample: NAME=0.5, or NAME=1,2,3; several with spaces.",
        read=words,
        unset="all inputs are images",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.constants

    @property
    def constants(self) -> Mapping[str, tuple[float, ...]]:
        """Name of an input: its numbers."""
        found = {}
        for part in self.input:
            name, _, value = part.rpartition("=")
            try:
                numbers = tuple(float(number) for number in value.split(","))
            except ValueError as error:
                raise InvalidValueError(
                    f"`input` {part!r} gives none a value", hint="`input` NAME=0.5, or NAME=1,2,3"
                ) from error
            if not name:
                raise InvalidValueError(
                    f"`input` {part!r} names none", hint="`input` NAME=0.5, or NAME=1,2,3"
                )
            found[name] = numbers
        return found
