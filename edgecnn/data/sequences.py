"""Sequences that are made of others without opening what these hold: images, and their labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ByIndex(Protocol[T_co]):
    """Something of a length, by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> T_co: ...


@dataclass(frozen=True)
class Picked(Generic[T]):
    """Some items of a sequence, by `rows`."""

    items: ByIndex[T]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> T:
        return self.items[int(self.rows[index])]

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))


@dataclass(frozen=True)
class Joined(Generic[T]):
    """Sequences, one after the other."""

    parts: Sequence[ByIndex[T]]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int, /) -> T:
        for part in self.parts:
            if index < len(part):
                return part[index]
            index -= len(part)
        raise IndexError(index)

    def __iter__(self) -> Iterator[T]:
        return (self[index] for index in range(len(self)))
