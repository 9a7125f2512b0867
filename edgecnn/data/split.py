"""Which images train, which validate and which test: the same each time, every class in the same shares."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecnn.data.dataset import Examples
from edgecnn.errors import DataError, InvalidValueError

#: Share of the images that test where a data set does not say which do.
TEST_SHARE = 0.1

#: What the parts are called in folders and on the Hugging Face hub.
PART_NAMES = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}


@dataclass(frozen=True)
class Split:
    """How images are kept out of training."""

    seed: int = 0
    #: Share of the training images.
    validation: float = 0.1
    #: Whether a data set that publishes no parts is left whole, and all of it tests.
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.validation <= 0.5:
            raise InvalidValueError(
                f"a share of {self.validation} for validation does not leave enough to train",
                hint="give 0 to 0.5; 0.1 is usual",
            )
        if self.seed < 0:
            raise InvalidValueError(f"the seed {self.seed} is negative", hint="give 0 or more")

    def keys(self, names: Sequence[str]) -> npt.NDArray[np.uint64]:
        """Return one number per name, which depends on nothing but the name and the seed."""
        digests = (hashlib.sha256(f"{self.seed}/{name}".encode()).digest() for name in names)
        return np.array([int.from_bytes(digest[:8], "big") for digest in digests], np.uint64)


def assign(
    labels: npt.NDArray[np.int64], keys: npt.NDArray[np.generic], shares: Sequence[float]
) -> npt.NDArray[np.int64]:
    """Return the part of each example: 1 for the first share of its class, 2 for the second, 0 for the rest.

    A class is ordered by `keys`, so an example more moves at most one other across each border. A class
    gives at least one example to every share that is not 0, as long as one is left.
    """
    parts = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        start = 0
        for part, share in enumerate(shares, 1):
            count = max(1, round(share * len(rows))) if share else 0
            count = min(count, len(rows) - 1 - start)
            parts[rows[start : start + count]] = part
            start += count
    return parts


def complete(
    name: str,
    given: Mapping[str, Examples],
    keys: npt.NDArray[np.generic],
    split: Split,
    firsts: npt.NDArray[np.int64] | None = None,
) -> tuple[Examples, Examples, Examples]:
    """Return (train, validation, test) of the data set `name`; what is not `given` comes out of "train".

    Where "validation" is given and "test" is not, it is the test: many data sets publish no other.
    `keys` order the examples of "train", see `assign`; `firsts` are the rows of those that each is a copy of
    (`identity.Copies`), whose part it shares. Raises DataError if too few are left for a part.
    """
    train, validation, test = given["train"], given.get("validation"), given.get("test")
    if split.whole and given.keys() == {"train"}:
        none = train.take(np.zeros(0, np.int64))
        return none, none, train
    if test is None:
        test, validation = validation, None
    firsts = np.arange(len(train)) if firsts is None else firsts
    originals = np.unique(firsts)
    parts = np.zeros(len(train), np.int64)
    parts[originals] = assign(
        train.kind.strata(train.labels)[originals],
        keys[originals],
        (0.0 if test is not None else TEST_SHARE, 0.0 if validation is not None else split.validation),
    )
    parts = parts[firsts]
    test = test if test is not None else train.take(np.flatnonzero(parts == 1))
    validation = validation if validation is not None else train.take(np.flatnonzero(parts == 2))
    train = train.take(np.flatnonzero(parts == 0))
    if not len(train) or not len(test) or (split.validation and not len(validation)):
        raise DataError(
            f"{name} has too few images to train, to validate and to test",
            hint="give at least three of every class; hundreds are good",
        )
    return train, validation, test
