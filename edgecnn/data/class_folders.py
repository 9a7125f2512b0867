"""A folder with one folder per class, or with such folders for training, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgecnn.data.dataset import DataSet, Examples, count_channels, file_size
from edgecnn.data.split import PART_NAMES, Split, complete
from edgecnn.errors import DataError
from edgecnn.runtime.image_folder import find_images

_LAYOUT = "expected: FOLDER/CLASS/image.jpg, or FOLDER/train/CLASS/image.jpg"


def class_folders(root: Path) -> list[Path]:
    """Return the folders of the classes, sorted by name; raises DataError if there are none."""
    try:
        folders = sorted(item for item in root.iterdir() if item.is_dir() and not item.name.startswith("."))
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


def list_images(root: Path, classes: list[str]) -> tuple[list[Path], list[int]]:
    """Return the images below the class folders of `root`, and the index of each one's class in `classes`.

    Raises DataError for a folder that is none of the classes, or that is empty.
    """
    files: list[Path] = []
    labels: list[int] = []
    for folder in class_folders(root):
        if folder.name not in classes:
            raise DataError(f"{folder} is a class that the training images do not have", hint=_LAYOUT)
        images = find_images(folder)
        files += images
        labels += [classes.index(folder.name)] * len(images)
    return files, labels


def open_class_folders(name: str, split: Split, progress: Callable[[str], None]) -> DataSet:
    """Open a folder of images; raises DataError if it cannot teach a network to tell classes apart.

    What the folder does not divide itself is divided by a hash of the seed and of each file's path inside
    the folder, so that more files leave (nearly) all others where they were.
    """
    progress(f"listing the images of {name}")
    root = Path(name)
    folders = part_folders(root) or {"train": root}
    classes = [folder.name for folder in class_folders(folders["train"])]
    if len(classes) < 2:
        raise DataError(f"{folders['train']} holds one class, {classes[0]}", hint=_LAYOUT)
    given: dict[str, Examples] = {}
    digest = hashlib.sha256()
    for part, folder in folders.items():
        files, labels = list_images(folder, classes)
        given[part] = Examples(files, np.array(labels, np.int64))
        for file, label in zip(files, labels, strict=True):
            line = (part, file.relative_to(folder).as_posix(), file_size(file), classes[label])
            digest.update(repr(line).encode())
    counts = np.bincount(given["train"].labels, minlength=len(classes))
    if counts.min() < 2:
        raise DataError(
            f"{folders['train'] / classes[counts.argmin()]} holds one image",
            hint="give at least two per class",
        )
    paths = [given["train"].images[row] for row in range(len(given["train"]))]
    keys = split.keys([Path(str(path)).relative_to(root).as_posix() for path in paths])
    return DataSet(
        name,
        tuple(classes),
        count_channels(given["train"].images),
        *complete(name, given, keys, split),
        digest.hexdigest(),
    )
