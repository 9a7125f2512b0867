"""A folder with one folder per class, or with such folders for training, validation and test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecnn.data import identity
from edgecnn.data.dataset import DataSet, Examples, count_channels, file_size
from edgecnn.data.split import PART_NAMES, Split, complete
from edgecnn.errors import DataError
from edgecnn.progress import Progress
from edgecnn.runtime.image_folder import Listing, is_hidden, list_folder, list_hidden

_LAYOUT = "expected: FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg"
#: Folders and images that a note names.
_NAMED = 3


def class_folders(root: Path) -> list[Path]:
    """Return the folders of the classes, sorted by name; raises DataError if there are none."""
    try:
        folders = sorted(item for item in root.iterdir() if item.is_dir() and not is_hidden(item.name))
    except OSError as error:
        raise DataError(f"cannot read {root}: {error.strerror}") from error
    if not folders:
        raise DataError(f"{root} holds no class folders", hint=_LAYOUT)
    return folders


def part_folders(root: Path) -> dict[str, Path]:
    """Return the folders of "train", "validation" and "test" below `root`; {} if it holds the classes.

    A folder `train` beside others that are none of these is a class.
    """
    found: dict[str, Path] = {}
    for part, names in PART_NAMES.items():
        folders = [root / name for name in names if (root / name).is_dir()]
        if len(folders) > 1:
            raise DataError(
                f"{root} holds {folders[0].name} and {folders[1].name}", hint="leave one of them there"
            )
        if folders:
            found[part] = folders[0]
    if "train" not in found or (len(found) == 1 and len(class_folders(root)) > 1):
        return {}
    return found


@dataclass
class ClassImages:
    """The images of class folders, and what else lies in these."""

    files: list[Path] = field(default_factory=list)
    #: Name of each one's folder.
    folders: list[str] = field(default_factory=list)
    #: Of each class folder, and of hidden folders beside them.
    listings: list[Listing] = field(default_factory=list)
    hidden: list[Listing] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The class folders that hold images, sorted by name."""
        return [found.folder.name for found in self.listings if found.images]

    @property
    def notes(self) -> list[str]:
        """What was left out, each in a sentence."""
        empty = [str(found.folder) for found in self.listings if not found.images]
        some = ", ".join(empty[:_NAMED]) + (f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else "")
        notes = [f"class folders without images left out: {some}"] if empty else []
        return notes + Listing.sum([*self.listings, *self.hidden]).notes


def list_images(root: Path) -> ClassImages:
    """Return the images below the class folders of `root`; raises DataError if there are none."""
    found = ClassImages(hidden=[list_hidden(root)])
    for folder in class_folders(root):
        listing = list_folder(folder)
        found.listings.append(listing)
        found.files += listing.images
        found.folders += [folder.name] * len(listing.images)
    if not found.files:
        raise DataError(f"{root} holds no images", hint="; ".join([_LAYOUT, *found.notes]))
    return found


def open_class_folders(name: str, split: Split, progress: Progress) -> DataSet:
    """Open a folder of images; raises DataError if it cannot teach a network to tell classes apart.

    What the folder does not divide itself is divided by a hash of the seed and of each file's path inside
    the folder, so that more files leave (nearly) all others where they were. Copies of an image are on its
    side; those of an image that tests do not train.
    """
    progress(f"listing the images of {name}")
    root = Path(name)
    found = {part: list_images(folder) for part, folder in (part_folders(root) or {"train": root}).items()}
    classes = found["train"].classes
    if len(classes) < 2:
        top = found["train"].listings[0].folder.parent
        raise DataError(f"{top} holds one class, {classes[0]}", hint=_LAYOUT)
    given: dict[str, Examples] = {}
    sizes: dict[str, list[int]] = {}
    digest = hashlib.sha256()
    for part, images in found.items():
        labels = [_label(images, row, classes) for row in range(len(images.files))]
        given[part] = Examples(images.files, np.array(labels, np.int64))
        sizes[part] = [file_size(file) for file in images.files]
        top = images.listings[0].folder.parent
        for file, label, size in zip(images.files, labels, sizes[part], strict=True):
            digest.update(repr((part, file.relative_to(top).as_posix(), size, classes[label])).encode())
    counts = np.bincount(given["train"].labels, minlength=len(classes))
    if counts.min() < 2:
        raise DataError(
            f"{found['train'].listings[0].folder.parent / classes[counts.argmin()]} holds one image",
            hint="give at least two per class",
        )
    given, firsts, copies = _without_copies(given, sizes)
    train = given["train"]
    paths = [Path(str(train.images[row])).relative_to(root).as_posix() for row in range(len(train))]
    return DataSet(
        name,
        tuple(classes),
        count_channels(train.images),
        *complete(name, given, split.keys(paths), split, firsts),
        digest.hexdigest(),
        notes=(*(note for images in found.values() for note in images.notes), *copies),
    )


def _label(images: ClassImages, row: int, classes: list[str]) -> int:
    folder = images.folders[row]
    if folder not in classes:
        place = images.listings[0].folder.parent / folder
        raise DataError(f"{place} is a class that the training images do not have", hint=_LAYOUT)
    return classes.index(folder)


def _without_copies(
    given: dict[str, Examples], sizes: dict[str, list[int]]
) -> tuple[dict[str, Examples], npt.NDArray[np.int64], list[str]]:
    """Return the parts without what is in an earlier one: test, validation, train; and what to say of it.

    Also for each training image that stays the row of the first like it (`identity.Copies`).
    """
    order = [part for part in ("test", "validation", "train") if part in given]
    files = [given[part].images[row] for part in order for row in range(len(given[part]))]
    labels = np.concatenate([given[part].labels for part in order])
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
    astray = copies[labels[copies] != labels[firsts[copies]]]
    if len(astray):
        named = ", ".join(str(files[row]) for row in astray[:_NAMED])
        notes.append(f"copies in another class than the image: {len(astray)} ({named})")
    kept: dict[str, Examples] = {}
    start = 0
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
