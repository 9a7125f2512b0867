"""A folder with one folder per class, or with such folders for training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgecnn.data.assemble import assemble
from edgecnn.data.dataset import DataSet, Examples
from edgecnn.data.split import PART_NAMES, Split
from edgecnn.errors import DataError
from edgecnn.progress import Progress
from edgecnn.runtime.image_folder import Listing, is_hidden, list_folder, list_hidden

_LAYOUT = "expected: FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg"
#: Folders that a note names.
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

    What the folder does not divide itself, and copies of images, are handled by `assemble`.
    """
    progress(f"listing the images of {name}")
    root = Path(name)
    found = {part: list_images(folder) for part, folder in (part_folders(root) or {"train": root}).items()}
    classes = found["train"].classes
    if len(classes) < 2:
        top = found["train"].listings[0].folder.parent
        raise DataError(f"{top} holds one class, {classes[0]}", hint=_LAYOUT)
    given: dict[str, Examples] = {}
    for part, images in found.items():
        labels = [_label(images, row, classes) for row in range(len(images.files))]
        given[part] = Examples(images.files, np.array(labels, np.int64))
    counts = np.bincount(given["train"].labels, minlength=len(classes))
    if counts.min() < 2:
        raise DataError(
            f"{found['train'].listings[0].folder.parent / classes[counts.argmin()]} holds one image",
            hint="give at least two per class",
        )
    notes = [note for images in found.values() for note in images.notes]
    tops = {part: images.listings[0].folder.parent for part, images in found.items()}
    return assemble(name, root, classes, given, split, notes, tops)


def _label(images: ClassImages, row: int, classes: list[str]) -> int:
    folder = images.folders[row]
    if folder not in classes:
        place = images.listings[0].folder.parent / folder
        raise DataError(f"{place} is a class that the training images do not have", hint=_LAYOUT)
    return classes.index(folder)
