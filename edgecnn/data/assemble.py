"""From the files of a folder and their labels to a data set: copies, parts that are missing, the hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.data import identity
from edgecnn.data.dataset import DataSet, Examples, count_channels, file_size
from edgecnn.data.split import Split, complete
from edgecnn.errors import DataError

#: Images that a note names.
_NAMED = 3


def assemble(
    name: str,
    root: Path,
    classes: Sequence[str],
    given: Mapping[str, Examples],
    split: Split,
    notes: Sequence[str] = (),
    tops: Mapping[str, Path] | None = None,
) -> DataSet:
    """Return the data set of parts ("train", "validation", "test") whose images are files below `root`.

    `tops` are folders of the parts, below which a file has the same name wherever the part lies.

    What is not given is divided by a hash of the seed and of each file's path inside the folder, so that
    more files leave (nearly) all others where they were. Copies of an image are on its side; those of an
    image that tests do not train. Raises DataError if too few images are left for a part.
    """
    if not given.get("train"):
        raise DataError(f"{name} holds no images to train with", hint="; ".join(notes) or None)
    sizes = {
        part: [file_size(Path(str(examples.images[row]))) for row in range(len(examples))]
        for part, examples in given.items()
    }
    hashed = _fingerprint(tops or dict.fromkeys(given, root), classes, given, sizes)
    kept, firsts, copies = _without_copies(given, sizes, classes)
    train = kept["train"]
    paths = [_inside(root, train.images[row]) for row in range(len(train))]
    return DataSet(
        name,
        tuple(classes),
        count_channels(train.images),
        *complete(name, kept, split.keys(paths), split, firsts),
        hashed,
        notes=(*notes, *copies),
    )


def _fingerprint(
    tops: Mapping[str, Path],
    classes: Sequence[str],
    given: Mapping[str, Examples],
    sizes: Mapping[str, Sequence[int]],
) -> str:
    """Return the SHA-256 of the paths below the parts' folders, the sizes in bytes and the labels."""
    digest = hashlib.sha256()
    for part, examples in given.items():
        for row, size in enumerate(sizes[part]):
            key = examples.kind.key(examples.labels, row, classes)
            digest.update(repr((part, _inside(tops[part], examples.images[row]), size, key)).encode())
    return digest.hexdigest()


def _inside(root: Path, file: object) -> str:
    """Return a file's path inside a folder; of one that lies elsewhere its whole path."""
    path = Path(str(file))
    return (path.relative_to(root) if root in path.parents else path).as_posix()


def _without_copies(
    given: Mapping[str, Examples], sizes: Mapping[str, Sequence[int]], classes: Sequence[str]
) -> tuple[dict[str, Examples], npt.NDArray[np.int64], list[str]]:
    """Return the parts without what is in an earlier one: test, validation, train; and what to say of it.

    Also for each training image that stays the row of the first like it (`identity.Copies`).
    """
    order = [part for part in ("test", "validation", "train") if part in given]
    files = [given[part].images[row] for part in order for row in range(len(given[part]))]
    found = identity.find_copies(files, [size for part in order for size in sizes[part]])
    firsts, copies = found.firsts, found.rows
    notes = [found.note] if found.note else []
    if len(copies):
        count = (
            "1 image is a copy of another"
            if len(copies) == 1
            else f"{len(copies)} images are copies of others"
        )
        notes.append(f"{count}: all copies of an image are on the same side of the split")
    kind = given["train"].kind
    keys = [kind.key(given[part].labels, row, classes) for part in order for row in range(len(given[part]))]
    astray = [row for row in copies if keys[row] != keys[firsts[row]]]
    if astray:
        named = ", ".join(str(files[row]) for row in astray[:_NAMED])
        notes.append(f"copies with other {kind.what} than the image: {len(astray)} ({named})")
    kept: dict[str, Examples] = {}
    start = 0
    own = np.zeros(0, np.int64)
    for part in order:
        own = firsts[start : start + len(given[part])]
        rows = np.flatnonzero(own >= start)
        kept[part] = given[part].take(rows) if len(rows) < len(own) else given[part]
        if len(rows) < len(own):
            notes.append(
                f"{len(own) - len(rows)} images of the part {part} left out: copies of held-out ones"
            )
        # Where the first of each stands among those that are left.
        own = np.searchsorted(rows, own[rows] - start)
        start += len(given[part])
    return kept, own, notes
